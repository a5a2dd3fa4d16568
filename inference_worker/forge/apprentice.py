"""Trains one order: `python -m inference_worker.forge.apprentice HOME ID`, a child of the forge's process, one thread.

It is at the lowest priority, has no network, and sees of the home the models, the adapters and its own directory: not the image, and not
the examiner's tasks. Every `EVERY` steps a checkpoint is written whole: whoever kills it, it goes on from there, and ends with the same
bytes, since a step depends on nothing but the weights, the optimizer and its number. The step itself is `train`'s.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import structlog
import torch

from deploy import confinement, logs, profiles
from deploy.digest import directory_digest
from deploy.orders import Order, OrderReport, Spool
from inference_worker.forge import dataset, handover, train
from inference_worker.forge.dataset import TrainingExample
from inference_worker.forge.items import OrderItems, drawn
from inference_worker.forge.render import COVENANT
from inference_worker.forge.train import Recipe

EVERY: Final = 10
"""Steps between two checkpoints: what a kill costs at most."""
ADAPTER: Final = "adapter"
_CHECKPOINT: Final = "checkpoint.pt"
_LOSSES: Final = "losses.json"

log = structlog.get_logger()

Tell = Callable[[OrderReport], None]


def learn(order: Order, model: Path, start: Path | None, work: Path, tell: Tell) -> OrderReport:
    """Train the order's adapter in `work`, from its newest checkpoint on; the report with which training ended. Raises OSError,
    ValueError.
    """
    if (work / ADAPTER).exists():  # killed between the last step and the report
        return _ended(order, drawn(order), _resumed_losses(work))
    work.mkdir(parents=True, exist_ok=True)
    items = drawn(order)
    recipe = Recipe(seed=order.seed, steps=order.steps, batch=order.batch, rate=order.rate, warmup=min(30, order.steps // 4))
    adapted, tokenizer = train.prepared(model, recipe, start)
    examples = [_encoded(item.prompt, item.body, tokenizer) for item in items.items]
    losses = _train(adapted, tokenizer, examples, recipe, work, lambda step, loss: tell(_report(order, items, "training", step, loss)))
    notes = {
        "recipe": {
            "order": order.id,
            "seed": order.seed,
            "steps": order.steps,
            "batch": order.batch,
            "rate": order.rate,
            "replay": order.replay,
        },
        "covenant": COVENANT,
        "data_sha256": items.digest,
        "items": items.counts,
        "base_model_digest": directory_digest(model),
        "went_on_from": order.start,
    }
    # Who reads it has the same account, and a confined process changes no file's mode.
    train.save(adapted, work / ADAPTER, notes, for_others=False)
    return _ended(order, items, losses)


def _train(
    adapted: Any, tokenizer: Any, examples: list[TrainingExample], recipe: Recipe, work: Path, told: Callable[[int, float], None]
) -> list[float]:
    weights = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(list(weights.values()), lr=recipe.rate, weight_decay=0.0, betas=(0.9, 0.98))
    losses = _resume(work / _CHECKPOINT, weights, optimizer)
    adapted.train()
    for step, batch in enumerate(dataset.batches(examples, recipe.batch, Random(recipe.seed))):
        if step < len(losses):
            continue
        for group in optimizer.param_groups:
            group["lr"] = train.rate_at(step, recipe)
        losses.append(train.stepped(adapted, tokenizer, batch, list(weights.values()), optimizer))
        if (step + 1) % EVERY == 0:
            _keep(work / _CHECKPOINT, weights, optimizer, losses)
            _write(work / _LOSSES, lambda file: file.write_text(json.dumps(losses)))
            told(step + 1, losses[-1])
    _write(work / _LOSSES, lambda file: file.write_text(json.dumps(losses)))
    return losses


def _resume(checkpoint: Path, weights: dict[str, Any], optimizer: torch.optim.Optimizer) -> list[float]:
    """Take up what a checkpoint has; the losses so far."""
    if not checkpoint.exists():
        return []
    kept = torch.load(checkpoint, weights_only=True)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(kept["weights"][name])
    optimizer.load_state_dict(kept["optimizer"])
    return list(kept["losses"])


def _keep(checkpoint: Path, weights: dict[str, Any], optimizer: torch.optim.Optimizer, losses: list[float]) -> None:
    content = {
        "weights": {name: weight.detach() for name, weight in weights.items()},
        "optimizer": optimizer.state_dict(),
        "losses": losses,
    }
    _write(checkpoint, lambda file: torch.save(content, file))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole, or not at all."""
    beside = path.with_suffix(".new")
    write(beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.rename(path)


def _encoded(prompt: str, body: str, tokenizer: Any) -> TrainingExample:
    answer = tokenizer.encode(body, add_special_tokens=False)
    return TrainingExample(tuple(tokenizer.encode(prompt, add_special_tokens=True)), (*answer, tokenizer.eos_token_id))


def _resumed_losses(work: Path) -> list[float]:
    try:
        return msgspec.json.decode((work / _LOSSES).read_bytes(), type=list[float])
    except (OSError, msgspec.DecodeError):
        return []


def _ended(order: Order, items: OrderItems, losses: list[float]) -> OrderReport:
    recent = losses[-10:]
    return _report(order, items, "examining", order.steps, sum(recent) / max(1, len(recent)))


def _report(order: Order, items: OrderItems, state: Any, step: int, loss: float) -> OrderReport:
    return OrderReport(
        order.id,
        state,
        step=step,
        steps=order.steps,
        loss=round(loss, 5),
        cpu_s=round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1),
        items=items.counts,
        dropped=items.dropped,
        data=items.digest,
        origins=items.origins,
    )


def main() -> int:
    """Entry point."""
    configuration, name = handover.received()
    logs.start("apprentice", configuration.settings.logs.level)
    spool, home = Spool(configuration.home), configuration.home
    order = next((order for order in spool.orders() if order.id == name), None)
    if order is None:
        log.error("there is no such order", order=name)
        return 2
    os.nice(19)
    torch.set_num_threads(configuration.settings.forge.threads)
    confinement.enter("apprentice", profiles.apprentice_profile(configuration), None)
    began = time.monotonic()
    start = home.adapters / order.start if order.start else None
    report = learn(order, home.models / order.base, start, spool.work(order.id), spool.tell)
    spool.tell(report)
    log.info("trained", order=order.id, seconds=round(time.monotonic() - began), loss=report.loss)
    return 0


if __name__ == "__main__":
    sys.exit(main())
