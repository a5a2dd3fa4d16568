"""Validation of a LoRA adapter before the engine sees it: a bad one inside a step would kill the engine for everybody.

Called in a thread of the worker's pool; reads files, keeps nothing, needs neither torch nor vLLM. An adapter is a PEFT
directory, `adapter_config.json` and `adapter_model.safetensors`, that lies under its digest. It may name its base model's
digest as `base_model_digest` in `adapter_config.json` or in `training.json`; then only that base is accepted.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from msgspec import Struct

from inference_worker.digest import directory_digest
from inference_worker.errors import BadAdapter, UnknownModel

_HEADER_LIMIT = 50_000_000
_TENSOR = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")
_FLOATS = {"BF16": 2, "F16": 2, "F32": 4}
# Initializations that change only the adapter's own first weights; the others change the base model's.
_PLAIN_INITIALIZATIONS = {"gaussian", "eva", "orthogonal", "mica", "lora_ga"}
_REFUSED_FEATURES = (
    "alora_invocation_tokens",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
)


class Tensor(Struct, frozen=True):
    """One entry of a safetensors header: type, shape, and where its bytes lie in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class BaseModel(Struct, frozen=True):
    """What an adapter must fit: the weights of a model by name, and its digest."""

    digest: str
    path: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]


class Adapter(Struct, frozen=True):
    """An adapter that passed. `size`: bytes of its weights."""

    digest: str
    path: Path
    rank: int
    size: int


def read_model(path: Path, digest: str) -> BaseModel:
    """The names and shapes of a model's weights; no weight is read.

    Raises UnknownModel when the directory is missing or holds no Hugging Face model in safetensors.
    """
    try:
        config = json.loads((path / "config.json").read_bytes())
        files = sorted(path.glob("*.safetensors"))
        tensors = {name: tensor for file in files for name, tensor in read_header(file).items()}
    except (OSError, ValueError, RecursionError) as error:
        raise UnknownModel(f"model {digest}: {path} cannot be read: {error}; its files must be put there before it is named") from error
    if not isinstance(config, dict) or not files:
        raise UnknownModel(f"model {digest}: {path} has no config.json with an object, or no *.safetensors file")
    return BaseModel(digest=digest, path=path, tensors=tensors, config=config)


def check_adapter(path: Path, digest: str, model: BaseModel, max_rank: int) -> Adapter:
    """Read and check the whole adapter. Raises BadAdapter with what was seen and what is allowed."""
    try:
        if not path.is_dir():
            raise BadAdapter(f"{path} is no directory; the adapter's files must be put there before it is named")
        actual = directory_digest(path)
        if actual != digest:
            raise BadAdapter(f"the files in {path} have the digest {actual}; they are damaged or were replaced")
        config = _read_object(path / "adapter_config.json")
        rank = _check_config(config, max_rank)
        _check_base(config, path, model)
        return Adapter(digest=digest, path=path, rank=rank, size=_check_weights(path, config, rank, max_rank, model))
    except BadAdapter as error:
        raise BadAdapter(f"adapter {digest}: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadAdapter(f"adapter {digest}: {path} cannot be read: {error}") from error


def read_header(file: Path) -> dict[str, Tensor]:
    """The header of a safetensors file, checked against the file's size. Raises ValueError or OSError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
        if not 0 < length <= min(size - 8, _HEADER_LIMIT):
            raise ValueError(f"{file.name} is no safetensors file: {size} bytes, a header of {length}")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{file.name}: the header is a {type(header).__name__}, not an object")
    return {name: _tensor(file.name, name, entry, 8 + length, size) for name, entry in header.items() if name != "__metadata__"}


def _tensor(file: str, name: str, entry: Any, base: int, size: int) -> Tensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(int(n) for n in entry["shape"]), entry["data_offsets"]
        tensor = Tensor(dtype=str(dtype), shape=shape, begin=base + int(begin), end=base + int(end))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{file}: the entry of {name} is not dtype, shape and data_offsets") from error
    if not base <= tensor.begin <= tensor.end <= size:
        raise ValueError(f"{file}: {name} lies at {tensor.begin}–{tensor.end}, outside the file of {size} bytes")
    return tensor


def _read_object(file: Path) -> dict[str, Any]:
    value = json.loads(file.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"{file.name} is a {type(value).__name__}, not an object")
    return value


def _check_config(config: Mapping[str, Any], max_rank: int) -> int:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise BadAdapter(f"its peft_type is {kind!r}; only LORA is supported")
    refused = [name for name in _REFUSED_FEATURES if config.get(name)]
    if config.get("bias", "none") != "none":
        refused.append("bias")
    initialization = config.get("init_lora_weights", True)
    if isinstance(initialization, str) and initialization.lower() not in _PLAIN_INITIALIZATIONS:
        refused.append(f"init_lora_weights={initialization}")
    if refused:
        raise BadAdapter(f"it uses {', '.join(refused)}, which the engine does not support; train it as a plain LoRA")
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise BadAdapter(f"its lora_alpha is {alpha!r}; a finite number is needed")
    if not isinstance(config.get("target_modules"), str | list):
        raise BadAdapter("it names no target_modules")
    rank = config.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= max_rank:
        raise BadAdapter(f"its rank is {rank!r}; allowed: 1 to {max_rank} (inference.max_lora_rank)")
    return rank


def _check_base(config: Mapping[str, Any], path: Path, model: BaseModel) -> None:
    named = [config.get("base_model_digest")]
    if (path / "training.json").is_file():
        named.append(_read_object(path / "training.json").get("base_model_digest"))
    for base in named:
        if base and base != model.digest:
            raise BadAdapter(f"it was made for the base model {base}, not for {model.digest}")


def _check_weights(path: Path, config: Mapping[str, Any], rank: int, max_rank: int, model: BaseModel) -> int:
    file = path / "adapter_model.safetensors"
    tensors = read_header(file)
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.match(name)
        if match is None:
            raise BadAdapter(f"the tensor {name} is none of a LoRA's; allowed: base_model.model.<module>.lora_A|B.weight")
        if tensor.dtype not in _FLOATS:
            raise BadAdapter(f"the tensor {name} is of type {tensor.dtype}; allowed: {', '.join(_FLOATS)}")
        if len(tensor.shape) != 2 or tensor.end - tensor.begin != math.prod(tensor.shape) * _FLOATS[tensor.dtype]:
            size = tensor.end - tensor.begin
            raise BadAdapter(f"the tensor {name} has the shape {list(tensor.shape)} in {size} bytes; a matrix is needed")
        pairs.setdefault(match["module"], {})[match["side"]] = tensor
    if not pairs:
        raise BadAdapter("it has no weights")
    exact = not config.get("rank_pattern")
    for module, pair in pairs.items():
        _check_pair(module, pair, rank if exact else None, max_rank, model)
    _check_finite(file, tensors)
    return sum(tensor.end - tensor.begin for tensor in tensors.values())


def _check_pair(module: str, pair: dict[str, Tensor], rank: int | None, max_rank: int, model: BaseModel) -> None:
    if len(pair) != 2:
        raise BadAdapter(f"{module} has only lora_{next(iter(pair))}; both A and B are needed")
    (inner, inputs), (outputs, inner_b) = pair["A"].shape, pair["B"].shape
    allowed = [rank] if rank is not None else range(1, max_rank + 1)
    if inner != inner_b or inner not in allowed:
        wanted = rank or f"at most {max_rank}"
        raise BadAdapter(f"{module} has A {[inner, inputs]} and B {[outputs, inner_b]}; their rank must agree and be {wanted}")
    weight = model.tensors.get(f"{module}.weight")
    if weight is None or len(weight.shape) != 2 or "embed" in module.rsplit(".", 1)[-1]:
        raise BadAdapter(f"{module} is no linear layer of the base model {model.digest}")
    # A quantized weight is packed, so that its shape says nothing.
    if weight.dtype in _FLOATS and weight.shape != (outputs, inputs):
        raise BadAdapter(f"{module} adapts a matrix {[outputs, inputs]}, but the base model's is {list(weight.shape)}")


def _check_finite(file: Path, tensors: Mapping[str, Tensor]) -> None:
    content = numpy.memmap(file, dtype=numpy.uint8, mode="r")
    for name, tensor in tensors.items():
        raw = content[tensor.begin : tensor.end].tobytes()
        if tensor.dtype == "BF16":
            # numpy has no bfloat16; all exponent bits set is infinity or not a number.
            finite = bool(((numpy.frombuffer(raw, dtype="<u2") & 0x7F80) != 0x7F80).all())
        else:
            finite = bool(numpy.isfinite(numpy.frombuffer(raw, dtype="<f2" if tensor.dtype == "F16" else "<f4")).all())
        if not finite:
            raise BadAdapter(f"the tensor {name} holds values that are not finite")
