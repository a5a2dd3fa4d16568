"""Models and adapters for tests: small enough to write on the spot, or random on the real model's shapes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save_file

from deploy.digest import directory_digest
from inference_worker.adapters.adapter import BaseModel, read_model

CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
    "bias": "none",
    "base_model_name_or_path": None,
}


def toy_model(directory: Path) -> Path:
    """A directory that reads as a model, for engines that need no weights."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "toy", "max_position_embeddings": 2048}))
    names = [f"model.layers.{layer}.self_attn.{side}_proj.weight" for layer in range(2) for side in "qv"]
    weights = {name: numpy.zeros((8, 6), dtype=numpy.float32) for name in names}
    weights["model.embed_tokens.weight"] = numpy.zeros((10, 6), dtype=numpy.float32)
    save_file(weights, directory / "model.safetensors")
    return directory


def random_adapter(
    directory: Path,
    model: BaseModel,
    seed: int = 0,
    scale: float = 0.0,
    rank: int = 4,
    modules: tuple[str, ...] = ("q_proj", "v_proj"),
    **config: Any,
) -> Path:
    """A valid adapter on all layers of `model`; with a scale above 0 it changes what the model says. `config` overrides."""
    random = numpy.random.default_rng(seed)
    weights: dict[str, Any] = {}
    for name, tensor in model.tensors.items():
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and module.rsplit(".", 1)[-1] in modules:
            outputs, inputs = tensor.shape
            weights[f"base_model.model.{module}.lora_A.weight"] = random.normal(0, 1 / inputs**0.5, (rank, inputs)).astype(numpy.float32)
            weights[f"base_model.model.{module}.lora_B.weight"] = random.normal(0, scale, (outputs, rank)).astype(numpy.float32)
    directory.mkdir(parents=True)
    save_file(weights, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(CONFIG | {"r": rank, "target_modules": list(modules)} | config))
    return directory


def put(directory: Path, into: Path) -> str:
    """Copy (a model: link) a directory to where the worker looks for it, under its digest, which is returned."""
    digest = directory_digest(directory)
    into.mkdir(parents=True, exist_ok=True)
    if into.name == "models":
        (into / digest).symlink_to(directory)
    else:
        shutil.copytree(directory, into / digest)
    return digest


def read(directory: Path) -> BaseModel:
    """A model as the worker reads it."""
    return read_model(directory, directory_digest(directory))
