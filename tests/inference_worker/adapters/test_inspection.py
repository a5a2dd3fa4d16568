"""What may come into an image: a model's directory that is whole, an adapter that fits one of the image's models."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from deploy.digest import directory_digest
from inference_worker.adapters.inspection import of_adapter, of_model
from inference_worker.adapters.model_files import BadModel
from inference_worker.errors import BadAdapter, UnknownModel
from tests.inference_worker import files
from tests.inference_worker.service import ROOT

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def quiet(step: str, detail: str, done: bool) -> None:
    pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A whole model in two files of weights."""
    directory = files.toy_model(tmp_path / "Some Model (v1)")
    (directory / "model.safetensors").unlink()
    placed = {}
    for number, shard in enumerate(SHARDS):
        name = f"model.layers.{number}.self_attn.q_proj.weight"
        save_file({name: numpy.zeros((8, 6), numpy.float32)}, directory / shard)
        placed[name] = shard
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    return directory


def test_of_a_models_directory_is_taken_what_an_engine_reads(model: Path) -> None:
    (model / "train.py").write_text("1")
    (model / "optimizer.pt").write_bytes(b"1")
    (model / "onnx").mkdir()
    manifest = of_model(model, "", quiet)
    assert {file.path for file in manifest.files} == {*SHARDS, *(path.name for path in model.glob("*.json"))}
    assert manifest.name == "Some-Model-v1-" and manifest.chat
    for name in ("train.py", "optimizer.pt"):
        (model / name).unlink()
    assert manifest.digest == directory_digest(model)


def test_a_download_caches_links_are_followed(model: Path, tmp_path: Path) -> None:
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for file in model.iterdir():
        (linked / file.name).symlink_to(file)
    assert of_model(linked, "", quiet).digest == directory_digest(model)
    done = subprocess.run(
        [sys.executable, "-m", "inference_worker.adapters.check", "model", str(linked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["manifest"]["name"] == "snapshot"


def _cut(name: str, octets: int) -> Callable[[Path], None]:
    return lambda model: (model / name).write_bytes((model / name).read_bytes()[:octets])


def _without(*names: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        for name in names:
            (model / name).unlink()

    return change


def _written(name: str, text: str) -> Callable[[Path], None]:
    return lambda model: (model / name).write_text(text) and None


def _pickled(model: Path) -> None:
    for shard in SHARDS:
        (model / shard).unlink()
    (model / "pytorch_model.bin").write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: shutil.rmtree(model), "cannot be read"),
        (_without("config.json"), "it has no config.json"),
        (_written("config.json", "[]"), "neither model_type nor architectures"),
        (_cut("config.json", 9), "may be cut short"),
        (_without(SHARDS[1]), f"{SHARDS[1]} is missing"),
        (_without(SHARDS[1], "model.safetensors.index.json"), f"{SHARDS[1]} is missing"),
        (_cut(SHARDS[0], -1), "damaged or cut short"),
        (_cut(SHARDS[0], 20), "damaged or cut short"),
        (_cut(SHARDS[0], 0), "damaged or cut short"),
        (_pickled, "runs code"),
        (_without(*SHARDS), "no .*safetensors"),
        (_written("model.safetensors.index.json", json.dumps({"weight_map": {"gone": SHARDS[0]}})), "no tensor gone"),
        (_written("model.safetensors.index.json", "[]"), "no weight_map"),
        (_without("tokenizer.json"), "no tokenizer"),
        (_cut("tokenizer.json", 1), "may be cut short"),
    ],
)
def test_a_directory_that_is_no_whole_model_says_what_is_wrong(model: Path, change: Callable[[Path], None], message: str) -> None:
    change(model)
    with pytest.raises(BadModel, match=message):
        of_model(model, "", quiet)


def test_an_adapter_belongs_to_the_model_that_it_names_or_to_the_first_that_it_fits(tmp_path: Path) -> None:
    base = files.toy_model(tmp_path / "base")
    twin = tmp_path / "twin"
    shutil.copytree(base, twin)
    (twin / "config.json").write_text('{"model_type": "twin"}')
    wide = tmp_path / "wide"
    wide.mkdir()
    (wide / "config.json").write_text('{"model_type": "wide"}')
    save_file({"model.layers.0.self_attn.q_proj.weight": numpy.zeros((8, 60), numpy.float32)}, wide / "model.safetensors")
    home = tmp_path / "home"
    bases = [home / files.put(directory, home) for directory in (wide, base, twin)]
    adapter = files.random_adapter(tmp_path / "adapter", files.read(base))
    assert of_adapter(adapter, "", bases, 16, quiet).base == bases[1].name
    assert of_adapter(adapter, "", bases[::-1], 16, quiet).base == bases[2].name
    assert of_adapter(adapter, "called", [home / ("e" * 64), bases[1]], 16, quiet).name == "called"
    (adapter / "training.json").write_text(json.dumps({"base_model_digest": bases[2].name}))
    assert of_adapter(adapter, "", bases, 16, quiet).base == bases[2].name
    with pytest.raises(BadAdapter, match="which the image has not"):
        of_adapter(adapter, "", bases[:2], 16, quiet)


def test_an_adapter_that_fits_none_of_the_models_is_refused_with_its_directory(tmp_path: Path) -> None:
    base = files.toy_model(tmp_path / "base")
    (tmp_path / "home").mkdir()
    installed = tmp_path / "home" / files.put(base, tmp_path / "home")
    adapter = files.random_adapter(tmp_path / "adapter", files.read(base), rank=32)
    with pytest.raises(BadAdapter, match=r"adapter: its rank is 32; allowed: 1 to 16"):
        of_adapter(adapter, "", [installed], 16, quiet)
    with pytest.raises(BadAdapter, match="no model"):
        of_adapter(adapter, "", [], 16, quiet)
    with pytest.raises(UnknownModel, match="must be put there"):
        of_adapter(adapter, "", [tmp_path / ("e" * 64)], 16, quiet)
    shutil.rmtree(adapter)
    with pytest.raises(BadAdapter, match="is no directory"):
        of_adapter(adapter, "", [installed], 16, quiet)
