"""Another model than the default one, from a GGUF file or a directory, an adapter trained by one command, and both as imports take them.

The models have some ten thousand weights; what is made of them is nonsense, and goes every step of the way.
"""

import json
from pathlib import Path

import gguf
import numpy
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from inference_worker import convert
from inference_worker.adapters import inspection
from inference_worker.forge import train

END = "<|im_end|>"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
WIDTH = 16
"""Of a head."""


def vocabulary() -> list[str]:
    """The end, and every byte."""
    return [END, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]


def in_a_directory(directory: Path, build: str) -> Path:
    """A random model of that build in Hugging Face's layout, beside files that no import takes."""
    inner = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(vocabulary())}, merges=[("a", "b")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, pad_token=END).save_pretrained(directory)
    configuration = {"llama": LlamaConfig, "qwen2": Qwen2Config}[build]
    config = configuration(
        **SHAPE, vocab_size=len(vocabulary()), eos_token_id=0, pad_token_id=0, bos_token_id=None, tie_word_embeddings=True
    )
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(directory)
    (directory / "train.py").write_text("no engine reads it")
    return directory


def in_a_file(file: Path, build: str, template: str = "") -> Path:
    """A random model of that build as GGUF."""
    writer = gguf.GGUFWriter(file, build)
    writer.add_context_length(4096)
    writer.add_embedding_length(SHAPE["hidden_size"])
    writer.add_block_count(SHAPE["num_hidden_layers"])
    writer.add_feed_forward_length(SHAPE["intermediate_size"])
    writer.add_head_count(SHAPE["num_attention_heads"])
    writer.add_head_count_kv(SHAPE["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if build == "qwen2" else "default")
    writer.add_token_list(vocabulary())
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(vocabulary()) - 1))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(0)
    if template:
        writer.add_chat_template(template)
    random = numpy.random.default_rng(1)

    def add(name: str, *shape: int) -> None:
        values = random.normal(0, 0.02, shape) if len(shape) > 1 else numpy.ones(shape)
        writer.add_tensor(name, values.astype(numpy.float32))

    hidden, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    queries, keys = SHAPE["num_attention_heads"] * WIDTH, SHAPE["num_key_value_heads"] * WIDTH
    add("token_embd.weight", len(vocabulary()), hidden)
    add("output_norm.weight", hidden)
    for number in range(SHAPE["num_hidden_layers"]):
        block = f"blk.{number}."
        for norm in ("attn_norm", "ffn_norm"):
            add(f"{block}{norm}.weight", hidden)
        for name, outputs in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
            add(f"{block}{name}.weight", outputs, hidden)
            if build == "qwen2":
                add(f"{block}{name}.bias", outputs)
        add(f"{block}attn_output.weight", hidden, queries)
        for name, shape in (("ffn_gate", (inner, hidden)), ("ffn_up", (inner, hidden)), ("ffn_down", (hidden, inner))):
            add(f"{block}{name}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def quiet(step: str, detail: str, done: bool) -> None:
    pass


@pytest.mark.parametrize("source", ["directory", "file"])
@pytest.mark.parametrize("build", ["llama", "qwen2"])
def test_a_model_comes_in_and_the_one_command_trains_an_adapter_that_belongs_to_it(source: str, build: str, tmp_path: Path) -> None:
    if source == "file":
        directory = tmp_path / "converted"
        assert convert.main([str(directory), "--gguf", str(in_a_file(tmp_path / "some.gguf", build, TEMPLATE))]) == 0
        words = AutoTokenizer.from_pretrained(directory)
        assert words.decode(words.encode("    return self.cost\n")) == "    return self.cost\n"
    else:
        directory = in_a_directory(tmp_path / "some-model", build)
    manifest = inspection.of_model(directory, "", quiet)
    assert manifest.chat is (source == "file") and "train.py" not in [file.path for file in manifest.files]
    out = tmp_path / "adapter"
    assert train.main(["--model", str(directory), "--out", str(out), "--steps", "2", "--batch", "2"]) == 0
    assert json.loads((out / "training.json").read_text())["base_model_digest"] == manifest.digest
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == directory.name
    kept = tmp_path / manifest.digest  # as the image has the files in its home: those of the manifest, under their digest
    kept.mkdir()
    for file in manifest.files:
        (kept / file.path).write_bytes((directory / file.path).read_bytes())
    assert inspection.of_adapter(out, "", [kept], 16, quiet).base == manifest.digest


def test_a_file_without_a_chat_template_is_a_model_that_is_asked_in_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main([str(tmp_path / "out"), "--gguf", str(in_a_file(tmp_path / "base.gguf", "llama"))]) == 0
    assert "no chat template" in capsys.readouterr().err
    assert inspection.of_model(tmp_path / "out", "", quiet).chat is False
