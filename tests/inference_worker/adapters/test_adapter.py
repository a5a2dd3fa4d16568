"""An adapter is read and checked before the engine sees it; whatever is wrong is said, and never an exception of another kind."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from deploy.digest import directory_digest
from inference_worker.adapters.adapter import BaseModel, check_adapter, linear_shape, read_model
from inference_worker.adapters.peft_config import CHECKED, HARMLESS, REFUSED, read_config
from inference_worker.adapters.safetensors_file import Tensor
from inference_worker.errors import BadAdapter, UnknownModel
from tests.inference_worker import files

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
    ("config", "message"),
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
def test_what_the_engine_cannot_do_is_refused_by_name(tmp_path: Path, model: BaseModel, config: dict[str, Any], message: str) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    written = json.loads((directory / "adapter_config.json").read_text())
    (directory / "adapter_config.json").write_text(json.dumps(written | config))
    with pytest.raises(BadAdapter, match=message):
        check(directory, model)


def test_the_base_named_in_training_json_counts_too(tmp_path: Path, model: BaseModel) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    (directory / "training.json").write_text(json.dumps({"base_model_digest": model.digest}))
    check(directory, model)
    (directory / "training.json").write_text(json.dumps({"base_model_digest": "e" * 64}))
    with pytest.raises(BadAdapter, match="eeee"):
        check(directory, model)


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, model: BaseModel, change: Any, message: str) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    change_weights(directory, change)
    with pytest.raises(BadAdapter, match=message):
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
    with pytest.raises(BadAdapter, match="pickled"):
        check(directory, model)


def configure(directory: Path, **fields: Any) -> None:
    file = directory / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"use_rslora": True, "init_lora_weights": "gaussian", "lora_dropout": 0.1},
        {"r": 8, "rank_pattern": {"q_proj": 4, "model.layers.0.self_attn.v_proj": 4, "layers.1.self_attn.v_proj": 4}},
        {"alpha_pattern": {"v_proj": 16.5}},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(q|v)_proj"},
        {"target_modules": ["self_attn.q_proj", "v_proj"], "exclude_modules": ["layers.7.self_attn.q_proj"]},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
        {"a_later_field": None, "another": False, "loftq_config": {"loftq_bits": 4}, "auto_mapping": {"parent_library": "x"}},
    ],
)
def test_what_the_engine_computes_as_peft_does_passes(tmp_path: Path, model: BaseModel, fields: dict[str, Any]) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    configure(directory, **fields)
    (directory / "README.md").write_text("how it was made")
    (directory / "tokenizer.json").write_text("{}")
    (directory / ".gitattributes").write_text("no part of the digest")
    assert check(directory, model).rank == 4


def test_the_rank_is_the_largest_that_a_layer_has(tmp_path: Path, model: BaseModel) -> None:
    directory = files.random_adapter(tmp_path / "a", model)
    configure(directory, rank_pattern={"layers.1.self_attn.q_proj": 6})
    name = "base_model.model.model.layers.1.self_attn.q_proj"
    wider = {f"{name}.lora_A.weight": numpy.ones((6, 6), numpy.float16), f"{name}.lora_B.weight": numpy.ones((8, 6), numpy.float16)}
    change_weights(directory, lambda w: w.update(wider))
    assert check(directory, model).rank == 6


def test_the_scale_is_pefts(tmp_path: Path) -> None:
    fields = {"r": 16, "lora_alpha": 8, "rank_pattern": {"k_proj": 4}, "alpha_pattern": {"layers.1.mlp.up_proj": 32}, "use_rslora": True}
    config = read_config(files.CONFIG | fields)
    assert config.rank_and_scale("model.layers.0.self_attn.q_proj") == (16, 2.0)
    assert config.rank_and_scale("model.layers.0.self_attn.k_proj") == (4, 4.0)
    assert config.rank_and_scale("model.layers.1.mlp.up_proj") == (16, 8.0)
    assert config.rank_and_scale("model.layers.11.mlp.up_proj") == (16, 2.0)


def test_every_field_of_pefts_configuration_is_decided() -> None:
    peft = pytest.importorskip("peft")
    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert fields - HARMLESS - CHECKED - set(REFUSED) - {"bias"} == set()
    saved = peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM").to_dict()
    assert read_config(saved | {"peft_type": "LORA", "target_modules": ["q_proj"]}).rank == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["q_proj", "layers", "(a+)+$", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["q_proj", "(", "\n"]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(CHECKED | HARMLESS | set(REFUSED) | {"bias", "other"})), JSON, max_size=4))
def test_a_configuration_of_any_content_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        config = read_config(files.CONFIG | fields)
    except BadAdapter:
        return
    rank, scale = config.rank_and_scale("model.layers.0.self_attn.q_proj")
    assert 1 <= rank <= config.largest_rank and numpy.isfinite(scale)
    assert config.covers("model.layers.0.self_attn.q_proj") in (True, False)


QUANTIZED = {"hidden_size": 6, "intermediate_size": 20, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 2}


def test_a_layer_whose_weights_are_packed_has_the_shape_of_the_configuration(model: BaseModel) -> None:
    def packed(kind: str, config: dict[str, Any]) -> BaseModel:
        tensors = {name.replace("weight", kind): Tensor("U8", (24, 1), 0, 24) for name in model.tensors}
        return msgspec.structs.replace(model, tensors=tensors, config=config)

    for kind in ("weight", "qweight"):
        assert linear_shape("model.layers.0.self_attn.q_proj", packed(kind, QUANTIZED)) == (8, 6)
        assert linear_shape("model.layers.0.self_attn.v_proj", packed(kind, QUANTIZED)) == (4, 6)
        assert linear_shape("model.layers.0.self_attn.q_proj", packed(kind, {"hidden_size": "no number"})) is None
        assert linear_shape("model.layers.0.mlp.up_proj", packed(kind, QUANTIZED)) is None
        assert linear_shape("model.embed_tokens", packed(kind, QUANTIZED)) is None


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

    first, second = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two"))
    assert directory_digest(tmp_path) == hashlib.sha256(f"{first}  a/one\n{second}  b.txt\n".encode()).hexdigest()
