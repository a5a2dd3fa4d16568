"""Which model and adapter a new image is born with."""

import json
import struct
from pathlib import Path

import pytest

from deploy.settings import Configuration, load
from ui_client import model_choice
from ui_client.report import Failure


def configured(home: Path, **inference: str) -> Configuration:
    environment = {f"BATOS_INFERENCE_{key.upper()}": value for key, value in inference.items()}
    return load({"BATOS_HOME": str(home), **environment}, home)


def model(path: Path, *, hidden: int = 8, layers: int = 2) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"hidden_size": hidden, "num_hidden_layers": layers}))
    return path


def adapter(path: Path, *, hidden: int = 8, layers: int = 2) -> Path:
    path.mkdir()
    (path / "adapter_config.json").write_text("{}")
    shapes = {f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_A.weight": [4, hidden] for n in range(layers)}
    header = json.dumps({"__metadata__": {"format": "pt"}, **{name: {"dtype": "BF16", "shape": shape} for name, shape in shapes.items()}})
    (path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    return path


def test_a_home_without_an_image_is_not_born_and_one_with_records_is(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    assert not model_choice.is_born(configuration)
    configuration.home.image_file.write_bytes(bytes(500))
    assert not model_choice.is_born(configuration)
    configuration.home.image_file.write_bytes(bytes(100_000))
    assert model_choice.is_born(configuration)


def test_the_configured_model_must_be_a_models_directory(tmp_path: Path) -> None:
    assert model_choice.configured_model(configured(tmp_path)) is None
    directory = model(tmp_path / "model")
    assert model_choice.configured_model(configured(tmp_path, model=str(directory))) == directory
    with pytest.raises(Failure, match=r"no config\.json"):
        model_choice.configured_model(configured(tmp_path, model=str(tmp_path)))


def test_an_adapter_is_shipped() -> None:
    assert model_choice.shipped_adapter() is not None


def test_the_shipped_adapter_is_taken_where_it_fits_and_left_where_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = adapter(tmp_path / "shipped")
    monkeypatch.setattr(model_choice, "shipped_adapter", lambda: shipped)
    configuration = configured(tmp_path)
    assert model_choice.chosen_adapter(configuration, model(tmp_path / "same")) == shipped
    assert model_choice.chosen_adapter(configuration, model(tmp_path / "wider", hidden=16)) is None
    assert model_choice.chosen_adapter(configuration, model(tmp_path / "deeper", layers=3)) is None


def test_an_adapter_can_be_named_or_none_asked_for(tmp_path: Path) -> None:
    directory, base = adapter(tmp_path / "mine"), model(tmp_path / "model")
    assert model_choice.chosen_adapter(configured(tmp_path, adapter=str(directory)), base) == directory
    assert model_choice.chosen_adapter(configured(tmp_path, adapter="none"), base) is None
    with pytest.raises(Failure, match=r"no adapter_config\.json"):
        model_choice.chosen_adapter(configured(tmp_path, adapter=str(base)), base)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, struct.pack("<Q", 10) + b"not json!!", struct.pack("<Q", 2) + b"{}"])
def test_a_broken_adapter_file_does_not_fit(tmp_path: Path, content: bytes) -> None:
    directory = adapter(tmp_path / "broken")
    (directory / "adapter_model.safetensors").write_bytes(content)
    assert not model_choice.fits(directory, model(tmp_path / "model"))
