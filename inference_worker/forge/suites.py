"""Held-out tasks as suites for `batos eval`: `python -m inference_worker.forge.suites --seed N --tasks N --out DIR`.

Writes one file a group, one task a line: `seen` (kinds of behaviour that training has, in words that it never had), `composed` (program
shapes that training never had), `operations` (operations that it never had, of which there are few), `examples` (seen and composed ones,
with two examples on other slot values) and `refused` (what nothing in the object answers). Each task is checked on three more sets of
values. What JSON cannot hold, and objects with methods, are left out.
The words and shapes are those of the test side, whatever the seed: no seed makes a suite that training has seen.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from inference_worker.forge.draw import Task, task
from inference_worker.forge.families import FAMILIES, WEIGHTED
from inference_worker.forge.standin import BodyOutcome, KnownMethod, StandIn, plain, replicate, same
from inference_worker.forge.unheard import UNHEARD
from inference_worker.forge.values import Slots

CHECKS: Final = 3
EXAMPLES: Final = 2
TRIES: Final = 40

_SEEN: Final = tuple(name for name in WEIGHTED if not name.startswith(("composed.", "declining.", "display.")))
_COMPOSED: Final = ("composed.value", "composed.value", "composed.value", "composed.change")
_REFUSED: Final = ("composed.declined", "declining.missing", "declining.beyond")

_ALL: Final = {**FAMILIES, **UNHEARD}

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "seen": _SEEN,
    "composed": _COMPOSED,
    "operations": tuple(UNHEARD),
    "examples": (*_SEEN[::3], *_COMPOSED * 16),
    "refused": _REFUSED,
}
"""The families that each group is drawn from, by weight."""


class Unwritable(Exception):
    """A value that a suite cannot hold."""


def suite(group: str, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """So many tasks of a group, each as a line's content; the same ones for the same seed. Raises KeyError for an unknown group."""
    rng = Random(f"suite {group} {seed}")
    written, selectors = 0, set[str]()
    while written < count:
        name = rng.choice(GROUPS[group])
        try:
            drawn = task(name, _ALL[name], rng.randrange(10**9), "test")
            if group in ("composed", "examples") and name.startswith("composed.") and "(" not in drawn.program.partition("(")[2]:
                continue  # one operator over slots: training has it
            line = _line(drawn, rng, examples=group == "examples")
        except (ValueError, Unwritable):
            continue
        if drawn.selector in selectors:
            continue
        selectors.add(drawn.selector)
        written += 1
        yield {"id": f"{group}-{written:04d}", "group": group, **line}


def _line(drawn: Task, rng: Random, examples: bool) -> dict[str, Any]:
    used = {name for name in drawn.slots if f"self.{name}" in drawn.body}
    names = [name for name in drawn.slots if name in used or not _has_method(drawn.slots[name])]
    others: dict[str, Any] = {}
    slots = {name: _written(drawn.slots[name], name, others) for name in names}
    line: dict[str, Any] = {"slots": slots}
    if others:
        line["others"] = others
    line |= {"selector": drawn.selector, **_call(drawn, drawn.args)}
    outcome = drawn.expected(drawn.slots, drawn.args)
    if outcome.error == "Declined":
        return line | {"expect": {"refused": True}}
    expected = _expected(outcome, drawn.slots, names)
    if examples:
        line["examples"] = [{**case, **_call(drawn, args)} for args, case in _cases(drawn, rng, names, EXAMPLES)]
        if len(line["examples"]) < EXAMPLES or any("raises" in case for case in line["examples"]):
            raise Unwritable
    line["expect"] = expected
    line["check"] = [{**case, **_call(drawn, args)} for args, case in _cases(drawn, rng, names, CHECKS)]
    return line


def _cases(drawn: Task, rng: Random, names: list[str], count: int) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Other values of the slots and what is right then; none of a task that is about objects, whose number may differ."""
    if any(f"self.{name}" in drawn.body and _written_objects(drawn.slots[name]) for name in names):
        return []
    cases = []
    for _ in range(TRIES):
        slots, args = drawn.probe(rng)
        # A slot that has nothing to do with the message stays as it is.
        slots = {name: slots[name] if f"self.{name}" in drawn.body else replicate(drawn.slots[name]) for name in drawn.slots}
        outcome = drawn.expected(slots, args)
        content = {name: _written(slots[name], name, {}) for name in names if not same(plain(slots[name]), plain(drawn.slots[name]))}
        expected = _expected(outcome, slots, names)
        cases.append((args, {"slots": content, **expected}))
        if len(cases) == count:
            break
    return cases


def _expected(outcome: BodyOutcome, slots: Slots, names: list[str]) -> dict[str, Any]:
    if outcome.error:
        return {"raises": outcome.error}
    before = plain({name: slots[name] for name in slots})
    changed = {
        name: _written(value, name, {}) for name, value in outcome.slots.items() if name not in before or not same(value, before[name])
    }
    if any(name not in names for name in changed):
        raise Unwritable(f"changes {changed.keys() - set(names)}")
    return {"result": _written(outcome.result, "result", {}), "changed": changed}


def _call(drawn: Task, values: tuple[Any, ...]) -> dict[str, Any]:
    args, kwargs = drawn.shape(values)
    call: dict[str, Any] = {}
    if args:
        call["args"] = [_written(value, "argument", {}) for value in args]
    if kwargs:
        call["kwargs"] = {name: _written(value, name, {}) for name, value in kwargs.items()}
    return call


def _written_objects(value: Any) -> dict[str, Any]:
    """The objects that a value holds, as `_written` names them."""
    others: dict[str, Any] = {}
    _written(value, "object", others)
    return others


def _has_method(value: Any) -> bool:
    return isinstance(value, KnownMethod)


def _written(value: Any, path: str, others: dict[str, Any]) -> Any:
    """A value as JSON; objects go to `others` under a name made from where they are held. Raises Unwritable."""
    if isinstance(value, StandIn):
        name = path.replace(".", "-")
        others[name] = {slot: _written(element, f"{path}.{slot}", others) for slot, element in value._slots.items()}
        return {"@": name}
    if isinstance(value, dict):
        if "object" in value or "method" in value or not all(isinstance(key, str) for key in value):
            raise Unwritable(path)
        return {key: _written(element, f"{path}.{key}", others) for key, element in value.items()}
    if isinstance(value, list):
        return [_written(element, f"{path}.{number}", others) for number, element in enumerate(value, 1)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Unwritable(path)


def main(arguments: list[str] | None = None) -> int:
    """Write the suites that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m inference_worker.forge.suites", description="write held-out tasks as suites for batos eval, one file a group"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed, other tasks; never ones of training")
    parser.add_argument("--tasks", type=int, default=300, help="tasks of each group")
    parser.add_argument("--groups", nargs="*", choices=sorted(GROUPS), default=sorted(GROUPS))
    parser.add_argument("--out", type=Path, required=True, help="directory for GROUP.jsonl")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for group in options.groups:
        lines = [json.dumps(line) for line in suite(group, options.seed, options.tasks)]
        (options.out / f"{group}.jsonl").write_text("\n".join(lines) + "\n")
        sys.stderr.write(f"suites: {options.out / group}.jsonl, {len(lines)} tasks\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
