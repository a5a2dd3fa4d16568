"""Training on a model of a few thousand weights: the real code path, in seconds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from inference_worker.forge import train
from inference_worker.forge.dataset import TrainingExample


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer of single bytes."""
    directory = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: number for number, sign in enumerate(["<end>", *alphabet])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<end>").save_pretrained(directory)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    return directory


def _trained(model: Path, out: Path, seed: int) -> dict[str, Any]:
    assert train.main(["--model", str(model), "--out", str(out), "--seed", str(seed), "--steps", "2", "--batch", "2"]) == 0
    tensors: dict[str, Any] = load_file(out / "adapter_model.safetensors")
    return tensors


def test_two_steps_write_an_adapter_that_changed_and_the_same_seed_writes_it_again(model: Path, tmp_path: Path) -> None:
    first, again = _trained(model, tmp_path / "first", 3), _trained(model, tmp_path / "again", 3)
    assert {tensor.dtype for tensor in first.values()} == {torch.bfloat16}
    assert any(tensor.abs().sum() > 0 for name, tensor in first.items() if "lora_B" in name)
    assert all(torch.equal(first[name], again[name]) for name in first)
    notes = json.loads((tmp_path / "first" / "training.json").read_text())
    assert notes["recipe"]["seed"] == 3
    assert len(notes["data_sha256"]) == len(notes["base_model_digest"]) == 64
    assert "tmp" not in (tmp_path / "first" / "adapter_config.json").read_text()


def test_an_adapter_is_never_written_over(model: Path, tmp_path: Path) -> None:
    assert train.main(["--model", str(model), "--out", str(tmp_path), "--steps", "1"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_only_the_answers_tokens_are_learned() -> None:
    tokens, targets = train.collate([TrainingExample((5, 6, 7), (8, 0)), TrainingExample((5, 6), (9, 9, 9, 0))], padding=0)
    assert tokens.tolist() == [[5, 6, 7, 8, 0, 0], [5, 6, 9, 9, 9, 0]]
    assert targets.tolist() == [[-100, -100, 8, 0, -100, -100], [-100, 9, 9, 9, 0, -100]]


def test_sharing_the_common_beginning_leaves_the_loss_as_it_is(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted, _ = train.prepared(model, train.Recipe())
    batch = train.collate([TrainingExample((5, 6, 7, 8), (8, 0)), TrainingExample((5, 6, 7), (9, 9, 9, 0))], padding=0)
    shared = train.loss_of(adapted, *batch).item()
    monkeypatch.setattr(train, "_common", lambda tokens: 0)
    assert shared == pytest.approx(train.loss_of(adapted, *batch).item(), rel=0.02)


def test_the_rate_rises_then_falls() -> None:
    recipe = train.Recipe(steps=100, warmup=10, rate=1.0)
    rates = [train.rate_at(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[-1] < 0.06
    assert rates[10:] == sorted(rates[10:], reverse=True)
