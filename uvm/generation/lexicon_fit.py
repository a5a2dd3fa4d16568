"""Fit the lexicon: `python -m uvm.generation.lexicon_fit TASKS.jsonl [--out FILE] [--seed N]`, a process of its own; needs torch.

TASKS is what `python -m inference_worker.forge.dataset` writes: a task a line, `{"selector", "slots": {name: shown}, "parameters",
"source"}`. A seventh of them is kept back, to say how surprising right bodies are that had no part in it. The same tasks and seed give the
same file.

One hidden layer between a bag of words and independent signs, words left out at random so that none is relied on alone, Adam with a
falling rate; stored in signed bytes, a scale a row.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Final

import msgspec
import torch
from msgspec import Meta, Struct
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from uvm.generation import lexicon
from uvm.generation.lexicon import Lexicon, LexiconFile

WIDTH: Final = 48
ROUNDS: Final = 12
BATCH: Final = 256
RATE: Final = 0.01
LEFT_OUT: Final = 0.1
"""Share of the words that a task is read without."""
LEAST_WORDS: Final = 8
LEAST_SIGNS: Final = 50
"""Tasks in which a word, or a sign, has to be."""


class TaskLine(Struct, frozen=True):
    """A line of the tasks."""

    selector: Annotated[str, Meta(min_length=1)]
    slots: dict[str, str]
    parameters: Annotated[int, Meta(ge=0)]
    source: str


def fit(tasks: Sequence[TaskLine], seed: int, say: Callable[[str], object]) -> LexiconFile:
    """The lexicon of these tasks. Raises ValueError where they are too few for any word to be known."""
    spoken = [lexicon.tokens(lexicon.read(task.selector, task.slots, task.parameters)) for task in tasks]
    shown = [lexicon.signs(task.source) for task in tasks]
    words, word_numbers = _numbered(spoken, LEAST_WORDS)
    signs, sign_numbers = _numbered([sorted(some) for some in shown], LEAST_SIGNS)
    if not words or not signs:
        raise ValueError(f"{len(tasks)} tasks, in which no word is in {LEAST_WORDS} and no sign in {LEAST_SIGNS}: more are needed")
    say(f"{len(tasks)} tasks, {len(words)} words and pairs, {len(signs)} signs\n")
    rng = Random(seed)
    torch.manual_seed(seed)
    rows = torch.nn.EmbeddingBag(len(words), WIDTH, mode="sum")
    torch.nn.init.normal_(rows.weight, std=0.1)
    out = torch.nn.Linear(WIDTH, len(signs))
    with torch.no_grad():
        share = torch.tensor([sum(sign in some for some in shown) for sign in signs]).clamp(min=1) / (len(tasks) + 1)
        out.bias.copy_((share / (1 - share)).log())
    optimizer = torch.optim.Adam([*rows.parameters(), *out.parameters()], lr=RATE)
    order = list(range(len(tasks)))
    for number in range(ROUNDS):
        rng.shuffle(order)
        total = 0.0
        for group in optimizer.param_groups:
            group["lr"] = RATE * (0.02 + (1 - number / ROUNDS))
        for first in range(0, len(order), BATCH):
            part = order[first : first + BATCH]
            heard = [[row for row in word_numbers[task] if rng.random() >= LEFT_OUT] for task in part]
            wanted = torch.zeros(len(part), len(signs))
            for line, task in enumerate(part):
                wanted[line, sign_numbers[task]] = 1
            loss = binary_cross_entropy_with_logits(_odds(rows, out, heard), wanted, reduction="sum") / len(part)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(part)
        say(f"round {number + 1}/{ROUNDS}: {total / len(tasks):.3f} nats a body\n")
    return _stored(words, signs, rows.weight.detach(), out.weight.detach(), out.bias.detach())


def _numbered(bags: Sequence[Sequence[str]], least: int) -> tuple[list[str], list[list[int]]]:
    """What is in enough of the bags, the most frequent first, and each bag as numbers of these."""
    counts = Counter(entry for bag in bags for entry in bag)
    listed = sorted((entry for entry, count in counts.items() if count >= least), key=lambda entry: (-counts[entry], entry))
    number = {entry: row for row, entry in enumerate(listed)}
    return listed, [[number[entry] for entry in bag if entry in number] for bag in bags]


def _odds(rows: torch.nn.EmbeddingBag, out: torch.nn.Linear, heard: Sequence[Sequence[int]]) -> Tensor:
    starts = [0]
    for bag in heard:
        starts.append(starts[-1] + len(bag))
    flat = torch.tensor([row for bag in heard for row in bag], dtype=torch.long)
    odds: Tensor = out(torch.tanh(rows(flat, torch.tensor(starts[:-1], dtype=torch.long))))
    return odds


def _stored(words: list[str], signs: list[str], rows: Tensor, out: Tensor, bias: Tensor) -> LexiconFile:
    word_rows, word_scales = _in_bytes(rows)
    sign_rows, sign_scales = _in_bytes(out)
    return LexiconFile(words, signs, WIDTH, word_rows, word_scales, sign_rows, sign_scales, _rounded(bias))


def _in_bytes(rows: Tensor) -> tuple[bytes, list[float]]:
    scales = rows.abs().amax(dim=1).clamp(min=1e-6) / 127
    return bytes((rows / scales[:, None]).round().to(torch.int8).flatten().view(torch.uint8).tolist()), _rounded(scales)


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]


def kept_back(tasks: Sequence[TaskLine]) -> tuple[list[TaskLine], list[TaskLine]]:
    """The tasks to fit to, and a seventh to look at."""
    return [task for number, task in enumerate(tasks) if number % 7], list(tasks[::7])


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Fit what the words of a selector lead one to expect of a body.")
    parser.add_argument("tasks", type=Path, help="what `python -m inference_worker.forge.dataset` writes")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(lexicon.FILE), help="the file to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        with options.tasks.open("rb") as lines:
            tasks = [msgspec.json.decode(line, type=TaskLine) for line in lines]
        used, back = kept_back(tasks)
        content = fit(used, options.seed, say)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}; tasks are what `python -m inference_worker.forge.dataset` writes\n")
        return 1
    network = Lexicon(content)
    readings = [
        network.reads(network.expects(lexicon.read(task.selector, task.slots, task.parameters)), task.source) for task in back[:2000]
    ]
    say(f"{len(readings)} kept back: {sum(reading.surprise for reading in readings) / max(1, len(readings)):.3f} nats a body\n")
    _write(msgspec.msgpack.encode(content), options.out)
    say(f"{options.out} is written\n")
    return 0


def _write(content: bytes, file: Path) -> None:
    descriptor, scratch = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}")
    with os.fdopen(descriptor, "wb") as writer:
        writer.write(content)
    Path(scratch).chmod(0o644)
    Path(scratch).replace(file)


if __name__ == "__main__":
    raise SystemExit(main())
