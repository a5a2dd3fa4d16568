"""Validation of a LoRA adapter before the engine sees it: a bad one inside a step would kill the engine for everybody.

Called in a thread that loads; reads files, keeps nothing, needs neither torch nor vLLM. An adapter is a PEFT directory,
`adapter_config.json` and `adapter_model.safetensors`, that lies under its digest; docs/adapters.md says what is allowed.
The weights are read once, into memory, and the digest and every check are of these bytes. An adapter may name its base
model's digest as `base_model_digest` in `adapter_config.json` or in `training.json`; then only that base is accepted.

Two kinds of refusal: Unsound, when the bytes are wrong whatever is asked of them (they are then quarantined), and plain
BadAdapter, when this base model, these settings or this engine cannot use them.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
from msgspec import Struct

from deploy.digest import file_digest, listing_digest
from inference_worker.adapters.peft_config import LoraConfig, read_config
from inference_worker.adapters.safetensors_file import Tensor, check_layout, header_end, matrix, read_header, split, strict_json
from inference_worker.errors import BadAdapter, UnknownModel

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TRAINING = "training.json"

MOST_FILES = 64
LARGEST_JSON = 1 << 20
"""Largest adapter_config.json and training.json, bytes."""

LARGEST_EXTRA = 32 << 20
"""Largest file that comes along (a tokenizer's tables, a README), bytes. Nothing here opens it."""

LARGEST_HEADER = 4_000_000
"""Largest header of an adapter's weights, bytes: an entry takes about 200, and a model of 80 layers has 1,120."""

LARGEST_VALUE = 65504.0
"""Largest value of A, and of B times its scale: float16 holds no more, and no training arrives there."""

LARGEST_GAIN = 1e6
"""Most by which a module's product may lengthen a vector: products of it with itself must stay finite in the layers behind."""

_EXTRA = re.compile(r"[\w][\w.-]{0,120}\.(json|md|txt|jinja|yaml)|tokenizer\.model|LICENSE|NOTICE")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_FLOATS = {"BF16": 2, "F16": 2, "F32": 4}
# The shape of a weight in these types is the layer's; 4-bit weights are packed into U8 or I32, whose shape says nothing.
_TRUE_SHAPES = {*_FLOATS, "F64", "I8", "F8_E4M3", "F8_E5M2"}
_PACKED = ("weight", "qweight", "weight_packed")


class Unsound(BadAdapter):
    """The adapter's bytes are damaged or no adapter's, whoever asks: they belong into quarantine. To a client it is BadAdapter."""

    @property
    def type(self) -> str:
        return BadAdapter.__name__


class BaseModel(Struct, frozen=True):
    """What an adapter must fit: the weights of a model by name, and its digest."""

    digest: str
    path: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]


class Adapter(Struct, frozen=True):
    """An adapter that passed. `rank`: the largest of its modules; `size`: bytes of its weights."""

    digest: str
    path: Path
    rank: int
    size: int


def read_model(path: Path, digest: str) -> BaseModel:
    """The names and shapes of a model's weights; no weight is read.

    Raises UnknownModel when the directory is missing or holds no Hugging Face model in safetensors.
    """
    try:
        config = strict_json((path / "config.json").read_bytes())
        files = sorted(path.glob("*.safetensors"))
        tensors = {name: tensor for file in files for name, tensor in read_header(file).items()}
    except (OSError, ValueError, RecursionError) as error:
        raise UnknownModel(f"model {digest}: {path} cannot be read: {error}; its files must be put there before it is named") from error
    if not isinstance(config, dict) or not files:
        raise UnknownModel(f"model {digest}: {path} has no config.json with an object, or no *.safetensors file")
    return BaseModel(digest=digest, path=path, tensors=tensors, config=config)


def check_adapter(path: Path, digest: str, model: BaseModel, max_rank: int, verified: bool = False) -> Adapter:
    """Read and check the whole adapter for one base model. `verified`: these very bytes passed before, only the fit is checked.

    Raises BadAdapter with what was seen and what is allowed; Unsound, which is one, when the bytes themselves are wrong.
    """
    try:
        files = list_files(path)
        _check_size(files[WEIGHTS], model, max_rank)
        content = b"" if verified else (path / WEIGHTS).read_bytes()
        if not verified:
            _check_digest(path, files, content, digest)
        tensors = _tensors(path / WEIGHTS, content)
        document = _read_object(path / CONFIG)
        config = read_config(document)
        if config.largest_rank > max_rank:
            raise BadAdapter(f"its rank is {config.largest_rank}; allowed: 1 to {max_rank} (inference.max_lora_rank)")
        _check_base(document, path if TRAINING in files else None, model)
        _check_targets(config, model)
        rank = max(_check_pair(module, pair, config, model, content) for module, pair in _pairs(tensors).items())
        return Adapter(digest=digest, path=path, rank=rank, size=sum(tensor.end - tensor.begin for tensor in tensors.values()))
    except BadAdapter as error:
        raise type(error)(f"adapter {digest}: {error}") from error
    except OSError as error:
        raise BadAdapter(f"adapter {digest}: {path} cannot be read: {error}") from error


def list_files(path: Path) -> dict[str, int]:
    """Name → bytes of the files that make up an adapter. Nothing is opened.

    Raises BadAdapter when there is no such directory, Unsound when something is in it that may not be, OSError.
    """
    if not path.is_dir():
        raise BadAdapter(f"{path} is no directory; the adapter's files must be put there before it is named")
    files: dict[str, int] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            # They are not part of the digest, and nobody opens them.
            if entry.name.startswith("."):
                continue
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                kind = "a link" if stat.S_ISLNK(status.st_mode) else "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise Unsound(f"it holds {entry.name!r}, which is {kind}; only plain files are allowed")
            check_file(entry.name, status.st_size)
            files[entry.name] = status.st_size
            if len(files) > MOST_FILES:
                raise Unsound(f"it holds more than {MOST_FILES} files")
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise Unsound(f"it has no {name}, so that it cannot be read; allowed are PEFT's LoRA adapters in safetensors")
    return files


def check_file(name: str, size: int) -> None:
    """Whether a file may belong to an adapter, by its name and size alone. Raises Unsound."""
    if name.lower().endswith(_PICKLES):
        raise Unsound(f"it holds {name!r}: pickled data runs code when it is read; only safetensors are allowed")
    if name == WEIGHTS:
        return
    if name != CONFIG and not _EXTRA.fullmatch(name):
        raise Unsound(f"it holds {name[:120]!r}; allowed beside {CONFIG} and {WEIGHTS}: .json, .md, .txt, .jinja, .yaml, tokenizer.model")
    limit = LARGEST_JSON if name in (CONFIG, TRAINING) else LARGEST_EXTRA
    if size > limit:
        raise Unsound(f"its {name} has {size} bytes; allowed: {limit}")


def linear_layers(model: BaseModel) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each linear layer that an adapter may change, with its outputs and inputs: neither embeddings, heads nor experts."""
    for name in model.tensors:
        module, _, kind = name.rpartition(".")
        if kind in _PACKED and (shape := linear_shape(module, model)) is not None:
            yield module, shape


def linear_shape(module: str, model: BaseModel) -> tuple[int, int] | None:
    """Outputs and inputs of one linear layer; None when it is none that an adapter may change, or its shape is not known."""
    last = module.rsplit(".", 1)[-1]
    if last == "lm_head" or "embed" in last or ".experts." in module:
        return None
    weight = model.tensors.get(f"{module}.weight")
    if weight is not None and weight.dtype in _TRUE_SHAPES:
        return (weight.shape[0], weight.shape[1]) if len(weight.shape) == 2 else None
    if any(f"{module}.{kind}" in model.tensors for kind in _PACKED):
        return _configured_shape(last, model.config)
    return None


def _configured_shape(last: str, config: Mapping[str, Any]) -> tuple[int, int] | None:
    """The shape of a packed layer, from the configuration that models of Llama's build share."""
    try:
        hidden, inner, heads = (int(config[key]) for key in ("hidden_size", "intermediate_size", "num_attention_heads"))
        groups = int(config.get("num_key_value_heads") or heads)
        width = int(config.get("head_dim") or hidden // heads)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    shapes = {"q_proj": (heads * width, hidden), "o_proj": (hidden, heads * width), "down_proj": (hidden, inner)}
    shapes |= dict.fromkeys(("k_proj", "v_proj"), (groups * width, hidden)) | dict.fromkeys(("gate_proj", "up_proj"), (inner, hidden))
    return shapes.get(last)


def _check_size(size: int, model: BaseModel, max_rank: int) -> None:
    values = sum(outputs + inputs for _, (outputs, inputs) in linear_layers(model))
    limit = 8 + LARGEST_HEADER + values * max_rank * _FLOATS["F32"]
    if size > limit:
        raise BadAdapter(f"its {WEIGHTS} has {size} bytes; at rank {max_rank} on all linear layers of its base it has at most {limit}")


def _check_digest(path: Path, files: Mapping[str, int], content: bytes, digest: str) -> None:
    digests = {name: hashlib.sha256(content).hexdigest() if name == WEIGHTS else file_digest(path / name) for name in files}
    actual = listing_digest(digests)
    if actual != digest:
        raise Unsound(f"the files in {path} have the digest {actual}; they are damaged or were replaced")


def _tensors(file: Path, content: bytes) -> dict[str, Tensor]:
    """The header of the weights, whose values, when they were read, are all finite."""
    try:
        if not content:
            return read_header(file, LARGEST_HEADER)
        tensors = split(file.name, content, LARGEST_HEADER)
        check_layout(file.name, tensors, header_end(content), len(content))
    except (ValueError, RecursionError) as error:
        raise Unsound(f"its weights cannot be read: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype in _FLOATS and not numpy.isfinite(matrix(content, tensor)).all():
            raise Unsound(f"the tensor {name} holds values that are not finite")
    return tensors


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = strict_json(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Unsound(f"its {file.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise Unsound(f"its {file.name} is a {type(value).__name__}, not an object")
    return value


def named_base(config: Path, training: Path | None) -> str:
    """The digest of the model that an adapter says it was made for; empty: it does not say. Raises BadAdapter, OSError."""
    documents = [_read_object(file) for file in (config, training) if file is not None]
    named = [document.get("base_model_digest") for document in documents]
    return next((str(base)[:80] for base in named if base), "")


def _check_base(config: Mapping[str, Any], trained: Path | None, model: BaseModel) -> None:
    named = [config.get("base_model_digest")]
    if trained is not None:
        named.append(_read_object(trained / TRAINING).get("base_model_digest"))
    for base in named:
        if base and base != model.digest:
            raise BadAdapter(f"it was made for the base model {str(base)[:80]}, not for {model.digest}")


def _check_targets(config: LoraConfig, model: BaseModel) -> None:
    if not config.targets:
        return
    layers = [module for module, _ in linear_layers(model)]
    ends = {module.split(".", start)[-1] for module in layers for start in range(module.count(".") + 1)}
    for target in config.targets:
        if target not in ends:
            allowed = ", ".join(sorted({module.rsplit(".", 1)[-1] for module in layers})[:20])
            raise BadAdapter(f"its target_modules names {target!r}, no linear layer of the base model {model.digest}; allowed: {allowed}")


def _pairs(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, tuple[str, Tensor]]]:
    pairs: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise BadAdapter(f"the tensor {name} is none of a LoRA's; allowed: base_model.model.<module>.lora_A|B.weight")
        if tensor.dtype not in _FLOATS:
            raise BadAdapter(f"the tensor {name} is of type {tensor.dtype}; allowed: {', '.join(_FLOATS)}")
        if len(tensor.shape) != 2 or 0 in tensor.shape:
            raise BadAdapter(f"the tensor {name} has the shape {list(tensor.shape)}; a matrix is needed")
        pairs.setdefault(match["module"], {})[match["side"]] = (name, tensor)
    if not pairs:
        raise BadAdapter("it has no weights")
    return pairs


def _check_pair(module: str, pair: Mapping[str, tuple[str, Tensor]], config: LoraConfig, model: BaseModel, content: bytes) -> int:
    """The rank of one module, whose A and B fit each other, the configuration and the base model."""
    if len(pair) != 2:
        raise BadAdapter(f"{module} has only lora_{next(iter(pair))}; both A and B are needed")
    shape = linear_shape(module, model)
    if shape is None:
        raise BadAdapter(f"{module} is no linear layer of the base model {model.digest} that an adapter can change")
    (inner, inputs), (outputs, inner_b) = pair["A"][1].shape, pair["B"][1].shape
    rank, scale = config.rank_and_scale(module)
    if not inner == inner_b == rank:
        raise BadAdapter(f"{module} has A {[inner, inputs]} and B {[outputs, inner_b]}; their rank must agree and be {rank}")
    if shape != (outputs, inputs):
        raise BadAdapter(f"{module} adapts a matrix {[outputs, inputs]}, but the base model's is {list(shape)}")
    if not config.covers(module):
        raise BadAdapter(f"{module} has weights, but its target_modules, exclude_modules or layers_to_transform leave it out")
    if content:
        _check_values(pair, scale, content)
    return rank


def _check_values(pair: Mapping[str, tuple[str, Tensor]], scale: float, content: bytes) -> None:
    norms = []
    for side, axis, factor in (("A", 1, 1.0), ("B", 0, abs(scale))):
        name, tensor = pair[side]
        values = matrix(content, tensor).astype(numpy.float32, copy=False)
        largest = float(numpy.abs(values).max()) * factor
        if largest > LARGEST_VALUE:
            raise BadAdapter(f"the tensor {name} reaches {largest:.3g} with its scale; allowed: {LARGEST_VALUE:g}, what float16 holds")
        norms.append(numpy.linalg.norm(values, axis=axis) * factor)
    gain = float(numpy.dot(norms[0].astype(numpy.float64), norms[1]))
    if gain > LARGEST_GAIN:
        raise BadAdapter(f"the tensors {pair['A'][0]} and lora_B lengthen a vector up to {gain:.3g} times; allowed: {LARGEST_GAIN:g}")
