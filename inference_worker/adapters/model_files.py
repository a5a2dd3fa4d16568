"""Validation of a base model before the image keeps it: whole, in Hugging Face's layout, and without a file that runs code.

Reads headers and small files; no weight is read, and neither torch nor vLLM is needed. Of a directory is taken what the engine reads:
`config.json` and other JSON, the weights as `*.safetensors`, the tokenizer, the chat template, licences. Anything else is left out, as
long as the rest is whole without it.
"""

import re
from pathlib import Path
from typing import Any

from msgspec import Struct

from inference_worker.adapters.safetensors_file import MODEL_HEADER_LIMIT, Tensor, check_layout, header_end, read_header, strict_json
from inference_worker.errors import UnknownModel
from inference_worker.protocol import MOST_FILES

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
LARGEST_JSON = 64 << 20
"""Largest JSON file of a model, bytes; a tokenizer's tables take up to some twenty million."""

_TAKEN = re.compile(r"[\w][\w.+-]{0,150}\.(safetensors|json|txt|model|jinja|tiktoken|md|yaml)|(LICENSE|NOTICE)[\w.-]{0,60}")
_PARTS = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<parts>\d{5})\.safetensors")
_TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class BadModel(UnknownModel):
    """The directory is no model that an engine could load, or is not whole. Said before an import alone, to whoever imports."""


class Model(Struct, frozen=True):
    """A model that passed. `files`: the names of those that are taken, sorted; `chat`: it has a chat template."""

    files: list[str]
    chat: bool


def check_model(directory: Path) -> Model:
    """Look at a model's directory. Raises BadModel, with what is missing or cut short and what to do."""
    try:
        present = {path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith(".")}
    except OSError as error:
        raise BadModel(f"{directory} cannot be read: {error}") from error
    files = sorted(name for name in present if _TAKEN.fullmatch(name))
    if CONFIG not in files:
        raise BadModel(f"{directory} is no model: it has no {CONFIG}; name a directory in Hugging Face's layout, or a GGUF file")
    if len(files) > MOST_FILES:
        raise BadModel(f"{directory} has {len(files)} files of a model; at most {MOST_FILES} are taken")
    documents = {name: _document(directory / name) for name in files if name.endswith(".json")}
    config = documents[CONFIG]
    if not isinstance(config, dict) or not (config.get("model_type") or config.get("architectures")):
        raise BadModel(f"{directory / CONFIG} says neither model_type nor architectures, so that no engine can load it")
    _check_weights(directory, [name for name in files if name.endswith(".safetensors")], documents.get(INDEX), present)
    has_tables = any(name.endswith(".tiktoken") for name in files)
    if not has_tables and not any(all(name in files for name in tokenizer) for tokenizer in _TOKENIZERS):
        raise BadModel(
            f"{directory} has no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt); download it as well"
        )
    return Model(files, _has_template(files, documents))


def _document(file: Path) -> Any:
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise BadModel(f"{file} has {file.stat().st_size} bytes; allowed: {LARGEST_JSON}")
        return strict_json(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{file} cannot be read, and may be cut short: {error}; download it again") from error


def _check_weights(directory: Path, files: list[str], index: Any, present: set[str]) -> None:
    """Every file of weights that is named anywhere is there, whole, and has the tensors that the index says."""
    if not files:
        if any(name.endswith(_PICKLES) for name in present):
            raise BadModel(f"{directory} has its weights as pickled data, which runs code when it is read; convert them to safetensors")
        raise BadModel(f"{directory} has no *.safetensors file")
    for name in files:
        if (part := _PARTS.fullmatch(name)) is not None:
            parts = [f"{part['stem']}-{number:05}-of-{part['parts']}.safetensors" for number in range(1, int(part["parts"]) + 1)]
            _check_present(directory, parts, files)
    tensors = {name: _tensors(directory / name) for name in files}
    if index is None:
        return
    placed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise BadModel(f"{directory / INDEX} has no weight_map from tensors to files")
    _check_present(directory, sorted(set(placed.values())), files)
    for tensor, file in placed.items():
        if tensor not in tensors[file]:
            raise BadModel(f"{directory / file} has no tensor {tensor[:200]}, which {INDEX} places there; download it again")


def _check_present(directory: Path, expected: list[str], files: list[str]) -> None:
    missing = [name for name in expected if name not in files]
    if missing:
        raise BadModel(
            f"{directory} is not whole: {', '.join(missing[:5])} is missing of {len(expected)} files of weights; download it again"
        )


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        tensors = read_header(file, MODEL_HEADER_LIMIT)
        with file.open("rb") as stream:
            check_layout(file.name, tensors, header_end(stream.read(8)), file.stat().st_size)
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{file} is damaged or cut short: {error}; download it again") from error
    return tensors


def _has_template(files: list[str], documents: dict[str, Any]) -> bool:
    tokenizer = documents.get("tokenizer_config.json")
    return "chat_template.jinja" in files or "chat_template.json" in files or (isinstance(tokenizer, dict) and "chat_template" in tokenizer)
