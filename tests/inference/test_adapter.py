"""An adapter is read and checked before the engine sees it; whatever is wrong is said, and never an exception of another kind."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from inference_worker.adapter import BaseModel, check_adapter, read_model
from inference_worker.digest import directory_digest
from inference_worker.errors import BadAdapter, UnknownModel
from tests.inference import files

MAX_RANK = 8


@pytest.fixture
def model(tmp_path: Path) -> BaseModel:
    return files.read(files.toy_model(tmp_path / "model"))


def check(directory: Path, model: BaseModel) -> Any:
    return check_adapter(directory, directory_digest(directory), model, MAX_RANK)


def change_weights(directory: Path, change: Any) -> None:
    file = directory / "adapter_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


def test_a_sound_adapter_passes_with_its_rank_and_size(tmp_path: Path, model: BaseModel) -> None:
    adapter = check(files.random_adapter(tmp_path / "a", model), model)
    assert adapter.rank == 4
    assert adapter.size == 4 * (4 * 6 + 8 * 4) * 4


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": 16}, "rank is 16"),
        ({"r": 0}, "rank is 0"),
        ({"r": True}, "rank is True"),
        ({"r": 2}, "rank must agree"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"target_modules": None}, "target_modules"),
        ({"base_model_digest": "f" * 64}, "base model ffff"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(tmp_path: Path, model: BaseModel, config: dict[str, Any], said: str) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    written = json.loads((directory / "adapter_config.json").read_text())
    (directory / "adapter_config.json").write_text(json.dumps(written | config))
    with pytest.raises(BadAdapter, match=said):
        check(directory, model)


def test_the_base_named_in_training_json_counts_too(tmp_path: Path, model: BaseModel) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    (directory / "training.json").write_text(json.dumps({"base_model_digest": model.digest}))
    check(directory, model)
    (directory / "training.json").write_text(json.dumps({"base_model_digest": "e" * 64}))
    with pytest.raises(BadAdapter, match="eeee"):
        check(directory, model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.clear(), "no weights"),
        (lambda w: w.pop(f"{FIRST}.lora_B.weight"), "only lora_A"),
        (lambda w: w.update({f"{FIRST}.lora_A.weight": numpy.zeros((4, 7), numpy.float32)}), "adapts a matrix"),
        (lambda w: w.update({f"{FIRST}.lora_A.weight": numpy.zeros((5, 6), numpy.float32)}), "rank must agree"),
        (lambda w: w.update({f"{FIRST}.lora_A.weight": numpy.full((4, 6), numpy.nan, numpy.float32)}), "not finite"),
        (lambda w: w.update({f"{FIRST}.lora_A.weight": numpy.full((4, 6), numpy.inf, numpy.float16)}), "not finite"),
        (lambda w: w.update({f"{FIRST}.lora_A.weight": numpy.zeros((4, 6), numpy.int8)}), "type I8"),
        (lambda w: w.update({f"{FIRST}.weight": numpy.zeros((8, 6), numpy.float32)}), "none of a LoRA's"),
        (
            lambda w: w.update({f"base_model.model.model.nothing.lora_{s}.weight": numpy.zeros((4, 4), numpy.float32) for s in "AB"}),
            "no linear layer",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, model: BaseModel, change: Any, said: str) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    change_weights(directory, change)
    with pytest.raises(BadAdapter, match=said):
        check(directory, model)


def test_infinity_in_bfloat16_is_seen(tmp_path: Path, model: BaseModel) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    file = directory / "adapter_model.safetensors"
    header: dict[str, Any] = {}
    content = b""
    for name, values in load_file(file).items():
        raw = (values.view(numpy.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": values.shape, "data_offsets": [len(content), len(content) + len(raw)]}
        content += raw
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)
    check(directory, model)
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"\x80\x7f" + content[2:])
    with pytest.raises(BadAdapter, match="not finite"):
        check(directory, model)


def test_files_that_are_not_those_of_the_digest_are_refused(tmp_path: Path, model: BaseModel) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    with pytest.raises(BadAdapter, match="damaged or were replaced"):
        check_adapter(directory, "a" * 64, model, MAX_RANK)


def test_a_pickled_adapter_is_not_read(tmp_path: Path, model: BaseModel) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    (directory / "adapter_model.safetensors").rename(directory / "adapter_model.bin")
    with pytest.raises(BadAdapter, match="cannot be read"):
        check(directory, model)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(tmp_path: Path, model: BaseModel, data: st.DataObject) -> None:
    directory = tmp_path / "fuzzed"
    if not directory.exists():
        files.random_adapter(directory, model)
    file = directory / data.draw(st.sampled_from(["adapter_model.safetensors", "adapter_config.json"]))
    sound = file.read_bytes()
    start = data.draw(st.integers(0, min(len(sound), 400)))
    damaged = sound[:start] + data.draw(st.binary(max_size=12)) + sound[start + data.draw(st.integers(0, 12)) :]
    file.write_bytes(damaged)
    try:
        check(directory, model)
    except BadAdapter:
        pass
    finally:
        file.write_bytes(sound)


def test_a_directory_that_is_no_model_is_unknown(tmp_path: Path) -> None:
    for content in (None, "[]", "not json"):
        if content is not None:
            (tmp_path / "config.json").write_text(content)
        with pytest.raises(UnknownModel):
            read_model(tmp_path, "d" * 64)


def test_the_digest_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("one")
    (tmp_path / ".hidden").write_text("left out")
    import hashlib

    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two"))
    assert directory_digest(tmp_path) == hashlib.sha256(f"{one}  a/one\n{two}  b.txt\n".encode()).hexdigest()
