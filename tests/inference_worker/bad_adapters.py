"""The corpus of bad adapters: each kind is a good one with one thing wrong, and the words its refusal must contain.

`spoil` makes one from a directory that holds a good adapter, of rank 4 on q_proj and v_proj. The digest it returns is the one to ask for:
that of the spoiled files, except where the damage is that files are not those of their digest.
"""

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from msgspec import Struct
from safetensors.numpy import load_file, save_file

from deploy.digest import directory_digest

FIRST = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{FIRST}.lora_A.weight", f"{FIRST}.lora_B.weight"
OTHER_BASE = "e" * 64

Change = Callable[[Path], None]
Weights = dict[str, Any]
Header = dict[str, Any]


class Bad(Struct, frozen=True):
    """One kind. `message`: a regular expression that its refusal matches. `unsound`: it goes to quarantine. `damaged`: after the digest."""

    change: Change
    message: str
    unsound: bool = False
    damaged: bool = False


def spoil(directory: Path, bad: Bad) -> str:
    """Spoil the good adapter in `directory`; the digest to ask for."""
    before = directory_digest(directory)
    bad.change(directory)
    return before if bad.damaged else directory_digest(directory)


# --- ways to change one -----------------------------------------------------------------------------------------------


def config(**fields: Any) -> Change:
    def change(directory: Path) -> None:
        file = directory / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


def config_text(text: str | bytes) -> Change:
    return lambda directory: _write(directory / "adapter_config.json", text)


def weights(edit: Callable[[Weights], Any]) -> Change:
    def change(directory: Path) -> None:
        content = load_file(directory / "adapter_model.safetensors")
        edit(content)
        save_file(content, directory / "adapter_model.safetensors")

    return change


def tensors(**values: Any) -> Change:
    """Replace the first module's A and B."""
    named = {"a": A, "b": B}
    return weights(lambda content: content.update({named[key]: value for key, value in values.items()}))


def every(scale: float) -> Change:
    """Multiply all values."""
    return weights(lambda content: content.update({name: value * numpy.float32(scale) for name, value in content.items()}))


def both(first: Change, second: Change) -> Change:
    def change(directory: Path) -> None:
        first(directory)
        second(directory)

    return change


def header(edit: Callable[[Header], Any]) -> Change:
    """Edit the header as an object; the values stay where they are."""
    return raw(lambda text, body: (_edited(text, edit), body))


def raw(edit: Callable[[bytes, bytes], tuple[bytes, bytes]], length: int | None = None) -> Change:
    """Edit the header's text and the values; `length` is the header's length that the file claims."""

    def change(directory: Path) -> None:
        file = directory / "adapter_model.safetensors"
        content = file.read_bytes()
        end = 8 + struct.unpack("<Q", content[:8])[0]
        text, body = edit(content[8:end], content[end:])
        file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)

    return change


def content(edit: Callable[[bytes], bytes], name: str = "adapter_model.safetensors") -> Change:
    return lambda directory: _write(directory / name, edit((directory / name).read_bytes()))


def extra(name: str, text: str | bytes = "x") -> Change:
    return lambda directory: _write(directory / name, text)


def renamed(name: str, to: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).rename(directory / to)

    return change


def linked_out(directory: Path) -> None:
    file = directory / "adapter_model.safetensors"
    outside = directory.parent / f"{directory.name}-outside"
    file.rename(outside)
    file.symlink_to(outside)


def nested(directory: Path) -> None:
    (directory / "checkpoint-1").mkdir()
    (directory / "checkpoint-1" / "more.json").write_text("{}")


def crowd(directory: Path) -> None:
    for number in range(100):
        (directory / f"note{number}.txt").write_text("x")


def _write(file: Path, text: str | bytes) -> None:
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def _edited(text: bytes, edit: Callable[[Header], Any]) -> bytes:
    header = json.loads(text)
    edit(header)
    return json.dumps(header).encode()


def _overlapping(header: Header) -> None:
    header[B]["data_offsets"] = [0, header[B]["data_offsets"][1] - header[B]["data_offsets"][0]]


def _flipped(bytes_: bytes, at: int) -> bytes:
    return bytes_[:at] + bytes([bytes_[at] ^ 0x10]) + bytes_[at + 1 :]


def _pairs(module: str, outputs: int = 4, inputs: int = 4) -> Weights:
    shapes = {"A": (4, inputs), "B": (outputs, 4)}
    return {f"base_model.model.{module}.lora_{side}.weight": numpy.zeros(shape, numpy.float32) for side, shape in shapes.items()}


def _filled(content: Weights, name: str, value: float, kind: Any = numpy.float32) -> None:
    content[name] = numpy.full(content[name].shape, value, kind)


def _nothing(name: str) -> Change:
    return weights(lambda content: content.pop(name))


# --- the corpus -------------------------------------------------------------------------------------------------------

BAD: dict[str, Bad] = {
    # files that are not those of the digest
    "truncated": Bad(content(lambda c: c[:-7]), "damaged or were replaced", unsound=True, damaged=True),
    "one bit flipped in the values": Bad(content(lambda c: _flipped(c, len(c) - 9)), "damaged or", unsound=True, damaged=True),
    "one bit flipped in the configuration": Bad(
        content(lambda c: _flipped(c, 20), "adapter_config.json"), "damaged or", unsound=True, damaged=True
    ),
    "another file was added": Bad(extra("notes.txt"), "damaged or", unsound=True, damaged=True),
    "weights of length 0": Bad(content(lambda c: b""), "damaged or", unsound=True, damaged=True),
    # files that may not be there, or are missing
    "pickled weights": Bad(renamed("adapter_model.safetensors", "adapter_model.bin"), "adapter_model.bin.*pickled", unsound=True),
    "pickled weights beside sound ones": Bad(extra("adapter_model.bin"), "pickled data runs code", unsound=True),
    "a pickled optimizer": Bad(extra("optimizer.PT"), "pickled data runs code", unsound=True),
    "code": Bad(extra("modeling.py"), "holds 'modeling.py'", unsound=True),
    "a second file of weights": Bad(extra("more.safetensors"), "holds 'more.safetensors'", unsound=True),
    "a name with control characters": Bad(extra("a\nb.json"), r"holds 'a\\nb.json'", unsound=True),
    "a link that leads out": Bad(linked_out, "which is a link", unsound=True),
    "a directory inside": Bad(nested, "which is a directory", unsound=True),
    "a pipe": Bad(lambda d: os.mkfifo(d / "pipe.json"), "no regular file", unsound=True),
    "a hundred files": Bad(crowd, "more than 64 files", unsound=True),
    "a huge configuration": Bad(config(revision="x" * (1 << 20)), "adapter_config.json has .* bytes; allowed", unsound=True),
    "no weights file": Bad(lambda d: (d / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors", unsound=True),
    "no configuration": Bad(lambda d: (d / "adapter_config.json").unlink(), "has no adapter_config.json", unsound=True),
    "far too many bytes": Bad(content(lambda c: c + bytes(64_000_000)), "on all linear layers of its base it has at most"),
    # a header that is none
    "bytes at random": Bad(content(lambda c: b"\x93NUMPY" + bytes(range(250))), "no safetensors file", unsound=True),
    "an empty file": Bad(content(lambda c: b""), "no safetensors file", unsound=True),
    "a header longer than the file": Bad(raw(lambda t, b: (t, b), length=2**63 + 5), "no safetensors file", unsound=True),
    "a header of length 0": Bad(raw(lambda t, b: (t, b), length=0), "no safetensors file", unsound=True),
    "a header of five million bytes": Bad(raw(lambda t, b: (t + b" " * 5_000_000, b)), "at most"),
    "a header nested too deep": Bad(raw(lambda t, b: (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b)), "cannot be read", unsound=True),
    "a header that is a list": Bad(raw(lambda t, b: (b"[1, 2]", b)), "is a list", unsound=True),
    "a header that is not UTF-8": Bad(raw(lambda t, b: (b'{"\xff": 1}', b)), "cannot be read", unsound=True),
    "NaN in the header": Bad(raw(lambda t, b: (t.replace(b"[0,", b"[NaN,", 1), b)), "NaN is no JSON number", unsound=True),
    "a tensor twice": Bad(
        raw(lambda t, b: (t.rstrip().removesuffix(b"}") + b"," + json.dumps({A: json.loads(t)[A]}).encode()[1:], b)),
        "occurs twice",
        unsound=True,
    ),
    "negative offsets": Bad(header(lambda h: h[A].update(data_offsets=[-8, 88])), "whole numbers from 0", unsound=True),
    "offsets in fractions": Bad(header(lambda h: h[A].update(data_offsets=[0.5, 96.5])), "whole numbers from 0", unsound=True),
    "a shape of truth values": Bad(header(lambda h: h[A].update(shape=[True, True])), "whole numbers from 0", unsound=True),
    "a negative shape": Bad(header(lambda h: h[A].update(shape=[-4, -6])), "whole numbers from 0", unsound=True),
    "a shape of astronomic size": Bad(header(lambda h: h[A].update(shape=[2**62, 2**62])), "needs another number", unsound=True),
    "a tensor behind the file": Bad(header(lambda h: h[A].update(data_offsets=[0, 2**40])), "outside the file", unsound=True),
    "an entry without a type": Bad(header(lambda h: h[A].pop("dtype")), "is not dtype, shape and data_offsets", unsound=True),
    "metadata that is no text": Bad(header(lambda h: h.update(__metadata__={"a": {"b": 1}})), "__metadata__", unsound=True),
    "tensors that overlap": Bad(header(_overlapping), "overlaps|leaves a gap", unsound=True),
    "bytes that belong to no tensor": Bad(raw(lambda t, b: (t, b + bytes(64))), "64 bytes after .* belong to no tensor", unsound=True),
    # tensors that are not a LoRA's, or not this base model's
    "no tensors": Bad(weights(lambda w: w.clear()), "no weights"),
    "A without B": Bad(_nothing(B), "only lora_A"),
    "B without A": Bad(_nothing(A), "only lora_B"),
    "a whole weight": Bad(weights(lambda w: w.update({f"{FIRST}.weight": numpy.zeros((8, 6), numpy.float32)})), "none of a LoRA's"),
    "a bias": Bad(weights(lambda w: w.update({f"{FIRST}.lora_B.bias": numpy.zeros(8, numpy.float32)})), "none of a LoRA's"),
    "a DoRA's magnitudes": Bad(
        weights(lambda w: w.update({f"{FIRST}.lora_magnitude_vector": numpy.zeros(8, numpy.float32)})), "none of a LoRA's"
    ),
    "an embedding's adapter": Bad(
        weights(lambda w: w.update({"base_model.model.model.embed_tokens.lora_embedding_A": numpy.zeros((4, 10), numpy.float32)})),
        "none of a LoRA's",
    ),
    "weights for the embedding": Bad(weights(lambda w: w.update(_pairs("model.embed_tokens"))), "no linear layer"),
    "weights for the head": Bad(weights(lambda w: w.update(_pairs("lm_head"))), "no linear layer"),
    "weights for a layer that is not there": Bad(weights(lambda w: w.update(_pairs("model.layers.999.mlp.up_proj"))), "no linear layer"),
    "weights for the engine's packed layer": Bad(weights(lambda w: w.update(_pairs("model.layers.0.mlp.gate_up_proj"))), "no linear layer"),
    "A for another width": Bad(tensors(a=numpy.zeros((4, 7), numpy.float32)), "adapts a matrix"),
    "B for another width": Bad(tensors(b=numpy.zeros((9, 4), numpy.float32)), "adapts a matrix"),
    "A and B of different rank": Bad(weights(lambda w: w.update({A: w[A][:3]})), "rank must agree"),
    "A as a vector": Bad(weights(lambda w: w.update({A: w[A].ravel()})), "a matrix is needed"),
    "A without rows": Bad(weights(lambda w: w.update({A: w[A][:0]})), "a matrix is needed"),
    "whole numbers": Bad(weights(lambda w: w.update({A: w[A].astype(numpy.int8)})), "type I8"),
    "double precision": Bad(weights(lambda w: w.update({A: w[A].astype(numpy.float64)})), "type F64"),
    "an unknown type": Bad(raw(lambda t, b: (t.replace(b'"F32"', b'"F99"', 1), b)), "type F99"),
    # values
    "not a number": Bad(weights(lambda w: _filled(w, A, numpy.nan)), "not finite", unsound=True),
    "infinity": Bad(weights(lambda w: _filled(w, B, -numpy.inf)), "not finite", unsound=True),
    "infinity in half precision": Bad(weights(lambda w: _filled(w, A, numpy.inf, numpy.float16)), "not finite", unsound=True),
    "values that overflow bfloat16": Bad(weights(lambda w: _filled(w, B, 3.4028e38)), "reaches .* allowed: 65504"),
    "a scale that overflows float16": Bad(both(every(1e3), config(lora_alpha=1e6)), "reaches .* with its scale"),
    "a product that explodes": Bad(weights(lambda w: [_filled(w, name, 3e4) for name in (A, B)]), "lengthen a vector"),
    # configuration
    "a configuration that is no JSON": Bad(config_text("{"), "adapter_config.json cannot be read", unsound=True),
    "a configuration that is a list": Bad(config_text("[]"), "is a list, not an object", unsound=True),
    "a configuration nested too deep": Bad(config_text("[" * 100_000), "adapter_config.json cannot be read", unsound=True),
    "a configuration with a byte order mark": Bad(content(lambda c: b"\xef\xbb\xbf" + c, "adapter_config.json"), "BOM", unsound=True),
    "rank Infinity": Bad(
        content(lambda c: re.sub(rb'"r": \d+', b'"r": Infinity', c), "adapter_config.json"), "Infinity is no JSON number", unsound=True
    ),
    "another method": Bad(config(peft_type="IA3"), "peft_type is 'IA3'"),
    "another task": Bad(config(task_type="SEQ_CLS"), "task_type is 'SEQ_CLS'"),
    "rank 0": Bad(config(r=0), "rank is 0"),
    "rank -4": Bad(config(r=-4), "rank is -4"),
    "rank true": Bad(config(r=True), "rank is True"),
    "a rank beyond the slots": Bad(config(r=1024), "rank is 1024; allowed: 1 to"),
    "a pattern's rank beyond the slots": Bad(config(rank_pattern={"q_proj": 1024}), "rank is 1024; allowed: 1 to"),
    "a pattern's rank that the tensors have not": Bad(config(rank_pattern={"q_proj": 2}), "rank must agree and be 2"),
    "a pattern that is a trap for regular expressions": Bad(config(alpha_pattern={"(a+)+$": 1}), "not a regular expression"),
    "a rank that the tensors have not": Bad(config(r=2), "rank must agree and be 2"),
    "no alpha": Bad(config(lora_alpha=None), "lora_alpha is None"),
    "alpha as text": Bad(config(lora_alpha="8"), "lora_alpha is '8'"),
    "alpha of a thousand digits": Bad(config(lora_alpha=10**1000), "lora_alpha is 1000"),
    "DoRA": Bad(config(use_dora=True), "use_dora"),
    "trained biases": Bad(config(bias="lora_only"), "uses bias"),
    "a LoRA with biases": Bad(config(lora_bias=True), "lora_bias"),
    "modules saved whole": Bad(config(modules_to_save=["lm_head"]), "modules_to_save"),
    "PiSSA": Bad(config(init_lora_weights="pissa_niter_16"), "init_lora_weights=pissa"),
    "an activated LoRA": Bad(config(alora_invocation_tokens=[1, 2]), "alora_invocation_tokens"),
    "layers repeated": Bad(config(layer_replication=[[0, 1]]), "layer_replication"),
    "trained tokens": Bad(config(trainable_token_indices=[5]), "trainable_token_indices"),
    "block-diagonal": Bad(config(use_bdlora={"nblocks": 2}), "use_bdlora"),
    "routed adapters": Bad(config(arrow_config={"top_k": 2}), "arrow_config"),
    "a field of the future": Bad(config(use_hyperlora=True), "'use_hyperlora', which is no field"),
    "no targets": Bad(config(target_modules=[]), "no target_modules"),
    "a target that the base has not": Bad(config(target_modules=["q_proj", "c_attn"]), "'c_attn', no linear layer"),
    "the head as a target": Bad(config(target_modules=["q_proj", "v_proj", "lm_head"]), "'lm_head', no linear layer"),
    "weights beyond the targets": Bad(config(target_modules=["q_proj"]), "leave it out"),
    "weights that are excluded": Bad(config(exclude_modules=["v_proj"]), "leave it out"),
    "weights beyond the layers": Bad(config(layers_to_transform=[0]), "leave it out"),
    "layers as text": Bad(config(layers_to_transform=["0"]), "layers_to_transform is"),
    "made for another base": Bad(config(base_model_digest=OTHER_BASE), f"made for the base model {OTHER_BASE}"),
    "trained on another base": Bad(extra("training.json", json.dumps({"base_model_digest": OTHER_BASE})), OTHER_BASE),
    "a training record that is no JSON": Bad(extra("training.json", "no"), "training.json cannot be read", unsound=True),
}
