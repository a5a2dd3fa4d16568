"""Train an adapter: `python -m inference_worker.forge.train --model DIR --out DIR --seed N --steps N`.

A process of its own, on the CPU, for any model of Llama's or Qwen2's build. LoRA on every linear layer, the loss on the body alone, every
example seen once. The same seed, steps and versions give the same data in the same order. Progress goes to stderr; the adapter directory
(bf16 safetensors, `adapter_config.json`, `training.json`) appears whole or not at all.
"""

import argparse
import json
import math
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from deploy.digest import directory_digest, file_digest, listing_digest
from inference_worker.adapters.model_files import BadModel, check_model
from inference_worker.forge import dataset
from inference_worker.forge.dataset import TrainingExample
from inference_worker.forge.render import COVENANT

ATTENTION = 12 * 240 * 240
"""Pairs of tokens, over all rows, that pass the model at a time: some 3 GB. Batches of long prompts go in parts."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is learned. `rate` is the highest learning rate; `warmup` is counted in steps;
    `emphasis` multiplies the weight of families or groups in the data; `told`: the `detail_share` of `dataset.tasks`."""

    seed: int = 1
    steps: int = 600
    batch: int = 12
    rank: int = 16
    alpha: int = 32
    rate: float = 5e-4
    warmup: int = 30
    emphasis: dict[str, int] = field(default_factory=dict)
    told: float = 0.0


def rate_at(step: int, recipe: Recipe) -> float:
    """The learning rate of a step: a linear rise, then a cosine down to a twentieth."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def collate(batch: list[TrainingExample], padding: int) -> tuple[Tensor, Tensor]:
    """Tokens and targets, padded on the right; the target is -100 where nothing is to be learned."""
    width = max(len(example) for example in batch)
    tokens = torch.full((len(batch), width), padding, dtype=torch.long)
    targets = torch.full((len(batch), width), -100, dtype=torch.long)
    for row, example in enumerate(batch):
        tokens[row, : len(example)] = torch.tensor(example.prompt + example.answer)
        # Position p predicts token p + 1: the last token of the prompt predicts the first of the answer.
        first = len(example.prompt) - 1
        targets[row, first : first + len(example.answer)] = torch.tensor(example.answer)
    return tokens, targets


def bearable(batch: list[TrainingExample]) -> list[list[TrainingExample]]:
    """The batch in parts that fit into memory, one after the other: what attention keeps grows with the square of the length."""
    width = max(len(example) for example in batch)
    rows = max(1, ATTENTION // width**2)
    return [batch[first : first + rows] for first in range(0, len(batch), rows)]


def loss_of(model: Any, tokens: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the answers' tokens."""
    return torch.nn.functional.cross_entropy(answer_logits(model, tokens, targets), targets[targets != -100])


def answer_logits(model: Any, tokens: Tensor, targets: Tensor) -> Tensor:
    """What the model says at the positions that have a target, row after row.

    What all rows begin with (the covenant's paragraph, a third of a prompt) passes the model once, and only the answers'
    positions pass the output layer, a fifth of it. No attention mask: padding is on the right, where causal attention
    cannot see it.
    """
    base = model.get_base_model()
    shared = min(_common(tokens), int((targets != -100).int().argmax(dim=1).min()))
    rest, answered = tokens[:, shared:], targets[:, shared:] != -100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        past = base.model(input_ids=tokens[:1, :shared], use_cache=True).past_key_values if shared else None
        if past is not None:
            past.batch_repeat_interleave(len(tokens))
        hidden = base.model(input_ids=rest, past_key_values=past, use_cache=past is not None).last_hidden_state
        logits: Tensor = base.lm_head(hidden[answered])
    return logits.float()


def _common(tokens: Tensor) -> int:
    """How many leading tokens all rows share."""
    same = (tokens == tokens[0]).all(dim=0)
    return int(same.int().cumprod(dim=0).sum())


def prepared(directory: Path, recipe: Recipe, start: Path | None = None) -> tuple[Any, Any]:
    """The model with adapters on every linear layer, fresh ones or those of the adapter `start`, and its tokenizer."""
    torch.manual_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    # Written-out attention: its backward pass is half as long on a CPU as that of the fused one, at prompts of this length.
    base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16, attn_implementation="eager")
    if start is not None:
        return PeftModel.from_pretrained(base, str(start), is_trainable=True), tokenizer
    config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(base, config), tokenizer


def train(
    model: Any, tokenizer: Any, examples: list[TrainingExample], recipe: Recipe, interval: int, snapshot: Callable[[int, list[float]], None]
) -> list[float]:
    """Train in place; answers the loss of every step. Every `interval` steps (0: never) calls `snapshot(steps, losses)`."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.0, betas=(0.9, 0.98))
    model.train()
    losses: list[float] = []
    started = time.monotonic()
    for step, batch in enumerate(dataset.batches(examples, recipe.batch, Random(recipe.seed))):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, recipe)
        losses.append(stepped(model, tokenizer, batch, weights, optimizer))
        if interval and (step + 1) % interval == 0 and step + 1 < recipe.steps:
            snapshot(step + 1, losses)
        if step % 10 == 9 or step == 0:
            recent = sum(losses[-10:]) / len(losses[-10:])
            _say(f"step {step + 1}/{recipe.steps} loss {recent:.4f} {(time.monotonic() - started) / (step + 1):.2f} s a step")
    return losses


def stepped(model: Any, tokenizer: Any, batch: list[TrainingExample], weights: list[Any], optimizer: torch.optim.Optimizer) -> float:
    """One step on a batch, at the optimizer's rate; its loss."""
    answers, total = sum(len(example.answer) for example in batch), 0.0
    for rows in bearable(batch):
        loss = loss_of(model, *collate(rows, tokenizer.eos_token_id)) * (sum(len(row.answer) for row in rows) / answers)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def save(model: Any, out: Path, notes: dict[str, Any], *, for_others: bool = True) -> None:
    """Write the adapter directory; `for_others`: every account may read it. Raises FileExistsError when `out` exists."""
    if out.exists():
        raise FileExistsError(f"{out} exists; an adapter is written once")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        tensors = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
        save_file(tensors, scratch / "adapter_model.safetensors", metadata={"format": "pt"})
        config = model.peft_config["default"]
        config.inference_mode = True
        # The base is named by digest in training.json; the path of this run means nothing elsewhere, its last part may.
        config.base_model_name_or_path = Path(str(model.get_base_model().config._name_or_path)).name
        config.save_pretrained(scratch)
        (scratch / "training.json").write_text(json.dumps(notes, indent=2) + "\n")
        if for_others:
            for file in scratch.iterdir():
                file.chmod(0o644)
            scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def digest_of(model: Path) -> str:
    """The digest that the image knows a model by: of the files that an import takes, or of all, where it would take none."""
    try:
        taken = check_model(model).files
    except BadModel:
        return directory_digest(model)
    return listing_digest({name: file_digest(model / name) for name in taken})


def _multiple(text: str) -> tuple[str, int]:
    name, _, times = text.partition("=")
    return name, int(times)


def _say(line: str) -> None:
    sys.stderr.write(f"train: {line}\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Train by the command line's recipe and write the adapter."""
    parser = argparse.ArgumentParser(prog="python -m inference_worker.forge.train", description="train the adapter that writes methods")
    parser.add_argument("--model", type=Path, required=True, help="base model directory")
    parser.add_argument("--out", type=Path, required=True, help="adapter directory to create")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--start", type=Path, help="adapter to go on from; give another seed, so that the data is new")
    parser.add_argument("--batch", type=int, default=Recipe.batch, help="examples a step")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument(
        "--told", type=float, default=0.0, metavar="SHARE", help="tasks whose examples also tell of slots and errors, 0 to 1"
    )
    parser.add_argument("--emphasis", nargs="*", default=[], metavar="NAME=N", help="draw a family or group N times as often")
    parser.add_argument("--threads", type=int, default=1, help="on a busy machine one thread is as fast as two")
    parser.add_argument("--snapshot", type=int, default=0, help="write OUT-STEP every so many steps; 0: never")
    options = parser.parse_args(arguments)
    if options.out.exists():
        _say(f"{options.out} exists; choose a directory that does not")
        return 1
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        seed=options.seed,
        steps=options.steps,
        batch=options.batch,
        rate=options.rate,
        emphasis=dict(map(_multiple, options.emphasis)),
        told=options.told,
    )
    drawn = dataset.tasks(recipe.seed, recipe.steps * recipe.batch, "train", recipe.emphasis, recipe.told)
    model, tokenizer = prepared(options.model, recipe, options.start)
    examples = [dataset.encode(task, tokenizer) for task in drawn]
    _say(f"{len(examples)} examples of {sum(map(len, examples)) / len(examples):.0f} tokens, data {dataset.digest(drawn)[:12]}")
    started = time.monotonic()
    made_of = {
        "data_sha256": dataset.digest(drawn),
        "base_model_digest": digest_of(options.model),
        "went_on_from": json.loads((options.start / "training.json").read_text()) if options.start else None,
    }

    def write(out: Path, losses: list[float]) -> None:
        save(model, out, _notes(recipe, made_of, losses, time.monotonic() - started))

    losses = train(
        model,
        tokenizer,
        examples,
        recipe,
        options.snapshot,
        lambda step, step_losses: write(options.out.with_name(f"{options.out.name}-{step}"), step_losses),
    )
    write(options.out, losses)
    _say(f"{options.out} is written")
    return 0


def _notes(recipe: Recipe, made_of: dict[str, Any], losses: list[float], seconds: float) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "covenant": COVENANT,
        **made_of,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "transformers", "peft")}},
        "steps_done": len(losses),
        "seconds": round(seconds),
        "last_loss": round(sum(losses[-50:]) / max(1, len(losses[-50:])), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
