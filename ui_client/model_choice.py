"""Which model and adapter a new image is born with. Reads files only; used by `batos up`.

The model is `inference.model`, else the default one, converted once. The adapter is `inference.adapter`, else the
shipped one where its shapes are the model's, else none.
"""

import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

from deploy.settings import Configuration
from ui_client.report import Failure

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
"""What the default model is called: its files do not say."""

_AWAKE_BYTES = 16_384
_SHIPPED = "shipped/covenant"


def is_born(configuration: Configuration) -> bool:
    """Does the image hold its first objects? True after the one transaction of the awakening, about 100 kB.

    Told from the file's size, because the file alone, without them, has less than 1 kB. While no server runs, the
    file may end with an unfinished transaction, which the server cuts off: ask again once it is there.
    """
    try:
        return configuration.home.image_file.stat().st_size > _AWAKE_BYTES
    except OSError:
        return False


def configured_model(configuration: Configuration) -> Path | None:
    """The directory that `inference.model` names; None for the default model. Raises Failure when it is none."""
    named = configuration.settings.inference.model
    if not named:
        return None
    directory = Path(named).expanduser().absolute()
    if not (directory / "config.json").is_file():
        raise Failure(
            "NoSuchModel",
            f"inference.model is {named!r}, but {directory} is no model directory: it has no config.json",
            "name a directory in Hugging Face's layout, or leave the key empty for the default model",
        )
    return directory


def chosen_adapter(configuration: Configuration, model: Path) -> Path | None:
    """The adapter for `model`; None for none. Raises Failure when `inference.adapter` names no adapter."""
    named = configuration.settings.inference.adapter
    if named == "none":
        return None
    if named:
        directory = Path(named).expanduser().absolute()
        if not (directory / "adapter_config.json").is_file():
            raise Failure(
                "NoSuchAdapter",
                f"inference.adapter is {named!r}, but {directory} is no PEFT adapter: it has no adapter_config.json",
                "name an adapter's directory, 'none', or leave the key empty for the shipped one",
            )
        return directory
    shipped = shipped_adapter()
    return shipped if shipped and fits(shipped, model) else None


def shipped_adapter() -> Path | None:
    """The adapter that comes with the inference worker; found without importing it."""
    package = importlib.util.find_spec("inference_worker")
    for location in (package.submodule_search_locations or ()) if package else ():
        directory = Path(location) / _SHIPPED
        if (directory / "adapter_config.json").is_file():
            return directory
    return None


def fits(adapter: Path, model: Path) -> bool:
    """Are the adapter's layers and widths the model's? Whether it was trained on these very weights, this cannot tell."""
    try:
        config = json.loads((model / "config.json").read_text())
        shapes = _shapes(adapter / "adapter_model.safetensors")
    except (OSError, ValueError, struct.error):
        return False
    layers = {int(part) for name in shapes for part in name.split(".") if part.isdigit()}
    widths = {shape[1] for name, shape in shapes.items() if ".q_proj.lora_A." in name and len(shape) == 2}
    return widths == {config.get("hidden_size")} and layers == set(range(config.get("num_hidden_layers", 0)))


def _shapes(file: Path) -> dict[str, list[int]]:
    """Tensor shapes from a safetensors file's header: its length in 8 bytes, little-endian, then JSON."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > 100_000_000:
            raise ValueError(f"{file} has a header of {length} bytes")
        header: dict[str, dict[str, Any]] = json.loads(opened.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
