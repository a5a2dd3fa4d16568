"""Trains one order: `python -m inference_worker.forge.apprentice HOME ID`, a child of the forge's process, one thread.

It is at the lowest priority, has no network, and sees of the home the models, the adapters and its own directory: not the image, and not
the examiner's tasks. Every `EVERY` steps a checkpoint is written whole: whoever kills it, it goes on from there, and ends with the same
bytes, since a step depends on nothing but the weights, the optimizer and its number. The step itself is `train`'s.

Where the order has a bound on the distance to the parent (`distance`), it is measured before each checkpoint. Beyond the bound training
ends, with the checkpoint before: so what is on disk never is beyond it, and whoever goes on after a kill stops at the same step. A penalty
in the loss would cost a pass of the parent with every step, and bound nothing.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import msgspec
import structlog
import torch

from deploy import confinement, logs, orders, profiles
from deploy.digest import directory_digest
from deploy.orders import Course, Order, OrderReport, Spool
from inference_worker.forge import dataset, distance, handover, train
from inference_worker.forge.dataset import TrainingExample
from inference_worker.forge.distance import Yardstick
from inference_worker.forge.items import OrderItems, drawn
from inference_worker.forge.render import COVENANT
from inference_worker.forge.train import Recipe

EVERY: Final = 10
"""Steps between two checkpoints: what a kill costs at most."""
ADAPTER: Final = "adapter"
_CHECKPOINT: Final = "checkpoint.pt"

log = structlog.get_logger()

Tell = Callable[[OrderReport], None]


def learn(order: Order, model: Path, start: Path | None, work: Path, tell: Tell) -> OrderReport:
    """Train the order's adapter in `work`, from its newest checkpoint on; the report with which training ended.

    It failed where not even the first steps keep within the bound. Raises OSError, ValueError.
    """
    if (work / ADAPTER).exists():  # killed between the last step and the report
        return _report(order, drawn(order), "examining", orders.read(work / orders.COURSE, Course) or Course())
    work.mkdir(parents=True, exist_ok=True)
    items = drawn(order)
    recipe = Recipe(seed=order.seed, steps=order.steps, batch=order.batch, rate=order.rate, warmup=min(30, order.steps // 4))
    adapted, tokenizer = train.prepared(model, recipe, start)
    examples = [_encoded(item.prompt, item.body, tokenizer) for item in items.items]
    yardstick = Yardstick(adapted, distance.held(order, tokenizer), tokenizer.eos_token_id)
    course = _train(
        adapted,
        tokenizer,
        examples,
        recipe,
        work,
        yardstick,
        order.distance,
        lambda so_far: tell(_report(order, items, "training", so_far)),
    )
    if not course.losses:
        return _report(order, items, "failed", course)
    notes = {
        "recipe": {
            "order": order.id,
            "seed": order.seed,
            "steps": order.steps,
            "batch": order.batch,
            "rate": order.rate,
            "replay": order.replay,
            "distance": order.distance,
        },
        "covenant": COVENANT,
        "data_sha256": items.digest,
        "items": items.counts,
        "base_model_digest": directory_digest(model),
        "went_on_from": order.start,
        "steps_done": len(course.losses),
        "distance": course.distances[-1],
    }
    # Who reads it has the same account, and a confined process changes no file's mode.
    train.save(adapted, work / ADAPTER, notes, for_others=False)
    return _report(order, items, "examining", course)


def _train(
    adapted: Any,
    tokenizer: Any,
    examples: list[TrainingExample],
    recipe: Recipe,
    work: Path,
    yardstick: Yardstick,
    bound: float,
    told: Callable[[Course], None],
) -> Course:
    """The steps. What it answers is of the newest checkpoint, and so are the weights: without losses, where the first one was too far."""
    weights = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(list(weights.values()), lr=recipe.rate, weight_decay=0.0, betas=(0.9, 0.98))
    course = _resume(work / _CHECKPOINT, weights, optimizer)
    losses, batches = list(course.losses), list(dataset.batches(examples, recipe.batch, Random(recipe.seed)))
    adapted.train()
    for step, batch in enumerate(batches):
        if step < len(losses):
            continue
        for group in optimizer.param_groups:
            group["lr"] = train.rate_at(step, recipe)
        losses.append(train.stepped(adapted, tokenizer, batch, list(weights.values()), optimizer))
        if (step + 1) % EVERY and step + 1 < len(batches):
            continue
        apart = round(yardstick.distance(adapted), 6)
        if bound and apart > bound:
            gone = f"{len(losses)} steps go {apart:.3g} nats a token from the parent, {bound:g} are allowed"
            why = f"stopped after {len(course.losses)} steps: {gone}"
            course = msgspec.structs.replace(_resume(work / _CHECKPOINT, weights, optimizer), stopped=why)
            orders.write(work / orders.COURSE, course)
            return course
        course = Course(list(losses), [*course.distances, apart])
        _keep(work / _CHECKPOINT, weights, optimizer, course)
        orders.write(work / orders.COURSE, course)
        told(course)
    return course


def _resume(checkpoint: Path, weights: dict[str, Any], optimizer: torch.optim.Optimizer) -> Course:
    """Take up what a checkpoint has; the course so far."""
    if not checkpoint.exists():
        return Course()
    kept = torch.load(checkpoint, weights_only=True)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(kept["weights"][name])
    optimizer.load_state_dict(kept["optimizer"])
    return Course(list(kept["losses"]), list(kept.get("distances", [])))  # an earlier version measured none


def _keep(checkpoint: Path, weights: dict[str, Any], optimizer: torch.optim.Optimizer, course: Course) -> None:
    """Write a checkpoint whole, or not at all."""
    content = {
        "weights": {name: weight.detach() for name, weight in weights.items()},
        "optimizer": optimizer.state_dict(),
        "losses": course.losses,
        "distances": course.distances,
    }
    beside = checkpoint.with_suffix(".new")
    torch.save(content, beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.rename(checkpoint)


def _encoded(prompt: str, body: str, tokenizer: Any) -> TrainingExample:
    answer = tokenizer.encode(body, add_special_tokens=False)
    return TrainingExample(tuple(tokenizer.encode(prompt, add_special_tokens=True)), (*answer, tokenizer.eos_token_id))


def _report(order: Order, items: OrderItems, state: Literal["training", "examining", "failed"], course: Course) -> OrderReport:
    recent = course.losses[-10:]
    return OrderReport(
        order.id,
        state,
        step=len(course.losses),
        steps=order.steps,
        loss=round(sum(recent) / max(1, len(recent)), 5),
        distance=course.distances[-1] if course.distances else None,
        cpu_s=round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1),
        detail=course.stopped,
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
