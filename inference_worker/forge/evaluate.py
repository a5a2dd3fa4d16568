"""Score a model: `python -m inference_worker.forge.evaluate --model DIR [--adapter DIR] --seed N --tasks N [--json] [--record]`.

A process of its own. Three sets, none of which training has seen: `held_out`, all families with words of the test side;
`clones`, the same on clones of genesis_obj; `firsts`, the first conversation and the README's example. One greedy draft a
task, right or wrong by what it does on fresh values, never by its text.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from inference_worker.forge import dataset, firsts
from inference_worker.forge.draw import Task
from inference_worker.forge.judge import Judge, JudgedDraft, Verdict

Author = Callable[[list[str]], list[str]]
"""Prompts to bodies, in order."""


@dataclass(frozen=True)
class WrittenBody:
    """A body, with the log probability of its tokens in nats: their mean, and that of the least likely one."""

    body: str
    logprob: float = 0.0
    least: float = 0.0


Writer = Callable[[list[str]], list[WrittenBody]]
"""Prompts to bodies, in order, with how sure the model was of them."""


@dataclass(frozen=True)
class Graded:
    """One task with its draft and its verdict."""

    task: Task
    body: str
    verdict: Verdict


def questions(seed: int, count: int) -> dict[str, list[Task]]:
    """The tasks of each set: `count` held-out ones, half as many on clones, and a few firsts."""
    rng = Random(f"firsts {seed}")
    few = max(4, count // 10)
    return {
        "held_out": dataset.tasks(seed, count, "test"),
        "clones": firsts.clones(seed, max(1, count // 2)),
        **{name: [firsts.first(name, rng.randrange(10**9)) for _ in range(few)] for name in firsts.FIRSTS},
    }


def graded(tasks: list[Task], author: Author) -> list[Graded]:
    """Ask for one body each and grade them."""
    bodies = author([task.prompt for task in tasks])
    with Judge() as judge:
        return [
            Graded(task, body, judge.verdict(JudgedDraft(task.family, task.seed, task.side, body)))
            for task, body in zip(tasks, bodies, strict=True)
        ]


def share(results: list[Graded]) -> float:
    """The share of right drafts, in percent."""
    return round(100 * sum(result.verdict.right for result in results) / max(1, len(results)), 1)


def report(results: dict[str, list[Graded]]) -> dict[str, Any]:
    """Scores in percent by set, by group of families, and the wrong drafts with their reasons."""
    groups: dict[str, list[Graded]] = defaultdict(list)
    for result in results["held_out"] + results["clones"]:
        groups[result.task.family.removeprefix("clone.").partition(".")[0]].append(result)
    everything = [result for graded_ones in results.values() for result in graded_ones]
    return {
        "scores": {name: share(verdicts) for name, verdicts in results.items()},
        "counts": {name: len(verdicts) for name, verdicts in results.items()},
        "groups": {name: share(verdicts) for name, verdicts in sorted(groups.items())},
        "forgotten_flags": sum(result.verdict.forgotten for result in everything),
        "wrong": [
            {
                "family": result.task.family,
                "seed": result.task.seed,
                "prompt": result.task.prompt,
                "body": result.body,
                "wanted": result.task.body,
                "why": result.verdict.why,
            }
            for result in everything
            if not result.verdict.right
        ],
    }


def author(model: Path, adapter: Path | None, threads: int) -> Author:
    """A greedy author: the model, with an adapter if there is one."""
    write = writer(model, adapter, threads)
    return lambda prompts: [written.body for written in write(prompts)]


def writer(model: Path, adapter: Path | None, threads: int, batch: int = 32, longest: int = 320) -> Writer:
    """The same, which also says how likely its tokens were; it answers in batches."""
    # Imported here: the report's functions are used without the seconds that torch takes.
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    if adapter is not None:
        loaded = PeftModel.from_pretrained(loaded, str(adapter), autocast_adapter_dtype=False)
    loaded.eval()

    def write(prompts: list[str]) -> list[WrittenBody]:
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        bodies = [WrittenBody("")] * len(prompts)
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            encoded = tokenizer([prompts[place] for place in places], return_tensors="pt", padding=True)
            likely: list[Any] = []  # of each step, for each row, the log probability of the likeliest token, which is the one that is taken

            def watch(tokens: Any, scores: Any, likely: list[Any] = likely) -> Any:
                likely.append(torch.log_softmax(scores.float(), dim=-1).amax(dim=-1))
                return scores

            with torch.inference_mode():
                answers = loaded.generate(
                    **encoded,
                    max_new_tokens=longest,
                    do_sample=False,
                    pad_token_id=tokenizer.eos_token_id,
                    logits_processor=LogitsProcessorList([watch]),
                )
            tokens = answers[:, encoded["input_ids"].shape[1] :]
            texts, chances = tokenizer.batch_decode(tokens, skip_special_tokens=True), torch.stack(likely, dim=1)
            for row, (place, text) in enumerate(zip(places, texts, strict=True)):
                ends = (tokens[row] == tokenizer.eos_token_id).nonzero()
                own = chances[row, : int(ends[0]) + 1 if len(ends) else None]
                bodies[place] = WrittenBody(text, round(own.mean().item(), 4), round(own.min().item(), 4))
        return bodies

    return write


def record(adapter: Path, seed: int, scores: dict[str, Any]) -> None:
    """Put a report's scores into the adapter's `training.json`. Raises OSError when it has none."""
    file = adapter / "training.json"
    notes = json.loads(file.read_text())
    notes["scores"] = {"seed": seed, **{key: scores[key] for key in ("scores", "counts", "groups")}}
    file.write_text(json.dumps(notes, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Score the model of the command line; exit status 0 whatever the score."""
    parser = argparse.ArgumentParser(
        prog="python -m inference_worker.forge.evaluate", description="score a model and an adapter by what their methods do"
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the scores into the adapter's training.json")
    parser.add_argument("--json", action="store_true", help="everything, with the wrong drafts, as JSON")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    write = author(options.model, options.adapter, options.threads)
    scores = report({name: graded(tasks, write) for name, tasks in questions(options.seed, options.tasks).items()})
    scores["seconds"] = round(time.monotonic() - started)
    if options.record and options.adapter is not None:
        record(options.adapter, options.seed, scores)
    if options.json:
        sys.stdout.write(json.dumps(scores, indent=1) + "\n")
        return 0
    for name, score in {**scores["scores"], **scores["groups"]}.items():
        sys.stdout.write(f"{score:5.1f} %  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
