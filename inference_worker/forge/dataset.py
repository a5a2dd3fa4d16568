"""Examples to train on: prompts with the bodies that should follow, drawn from a seed, cut into batches of like length.

Pure, except that a tokenizer is passed in. Every example is drawn once; no example is seen twice in a run.

`python -m inference_worker.forge.dataset --seed N --tasks N --out FILE` writes tasks of the training side that have an answer, a task a
line: selector, slots as a prompt shows them, number of parameters, source. The judge's lexicon is fitted to them (docs/forge.md).
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from inference_worker.forge import render
from inference_worker.forge.draw import Task, task
from inference_worker.forge.families import FAMILIES, WEIGHTED
from inference_worker.forge.words import Side

_BATCHES_A_POOL = 40
"""Batches are cut from so many batches' worth of examples, sorted by length: less padding, still mixed."""


class Tokenizer(Protocol):
    """What is used of a tokenizer."""

    eos_token_id: int

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


@dataclass(frozen=True)
class TrainingExample:
    """One prompt and its answer, as tokens; the answer ends with the end of the text."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def tasks(seed: int, count: int, side: Side, emphasis: Mapping[str, int] | None = None, detail_share: float = 0.0) -> list[Task]:
    """So many tasks of all families, by weight; `emphasis` multiplies the weight of a family or of a whole group.

    `detail_share`: the share of tasks whose examples also tell of slots before and after, and of errors (`draw.task`).
    Raises ValueError for a name in `emphasis` that is neither.
    """
    rng = Random(f"tasks {seed} {side}")
    weighted = emphasized(emphasis or {})
    drawn = []
    for index in range(count):
        name = rng.choice(weighted)
        drawn.append(task(name, FAMILIES[name], seed * 10_000_000 + index, side, detail_share))
    return drawn


def emphasized(emphasis: Mapping[str, int]) -> list[str]:
    """Names of families to draw from, each as often as it weighs."""
    unknown = emphasis.keys() - FAMILIES.keys() - set(_groups())
    if unknown:
        raise ValueError(f"no family and no group is called {', '.join(sorted(unknown))}; groups: {', '.join(_groups())}")
    return [name for name in WEIGHTED for _ in range(emphasis.get(name, 1) * emphasis.get(name.partition(".")[0], 1))]


def _groups() -> list[str]:
    return sorted({name.partition(".")[0] for name in FAMILIES})


def digest(drawn: list[Task]) -> str:
    """SHA-256 over prompts and bodies, as hex: names the training data."""
    whole = hashlib.sha256()
    for drawn_task in drawn:
        whole.update(f"{drawn_task.prompt}{drawn_task.body}\0".encode())
    return whole.hexdigest()


def encode(task: Task, tokenizer: Tokenizer) -> TrainingExample:
    """A task as tokens. The prompt is tokenized alone, as it is when a model is asked."""
    prompt = tokenizer.encode(task.prompt, add_special_tokens=True)
    answer = tokenizer.encode(task.body, add_special_tokens=False)
    return TrainingExample(tuple(prompt), (*answer, tokenizer.eos_token_id))


def batches(examples: list[TrainingExample], size: int, rng: Random) -> Iterator[list[TrainingExample]]:
    """Batches of `size` examples of like length, in random order; every example is in exactly one."""
    pool = size * _BATCHES_A_POOL
    for start in range(0, len(examples), pool):
        window = sorted(examples[start : start + pool], key=len)
        cut = [window[place : place + size] for place in range(0, len(window), size)]
        rng.shuffle(cut)
        yield from cut


def answerable(seed: int, count: int, emphasis: Mapping[str, int]) -> Iterator[dict[str, object]]:
    """So many tasks of the training side, less those that are to be declined and those that draw: as lines' content."""
    rng = Random(f"answerable {seed}")
    weighted = [name for name in emphasized(emphasis) if name.partition(".")[0] not in ("declining", "display")]
    written = 0
    while written < count:
        name = rng.choice(weighted)
        try:
            drawn = task(name, FAMILIES[name], rng.randrange(10**9), "train")
        except ValueError:  # its words did not go together
            continue
        if "decline(" in drawn.body:
            continue
        written += 1
        yield {
            "selector": drawn.selector,
            "slots": {name: render.value(content) for name, content in drawn.slots.items()},
            "parameters": len(drawn.arguments),
            "source": drawn.source(drawn.body),
        }


def main(arguments: list[str] | None = None) -> int:
    """Write tasks."""
    parser = argparse.ArgumentParser(prog="python -m inference_worker.forge.dataset", description="write tasks of the training side")
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks to write")
    parser.add_argument("--composed", type=int, default=36, help="how many times as often composed programs are drawn")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.out.open("w") as out:
        for line in answerable(options.seed, options.tasks, {"composed": options.composed}):
            out.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
