"""The way of a message nobody understood: its stages, and the decisions on it. Pure functions; no clock, socket or database."""

import ast
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from uvm.protocol import STAGES

NEEDS_METHOD: Final = "needs"
"""Outcome of a draft that needs another method first, and waits until no other draft will do."""
TERMINAL: Final = frozenset({"installed", "shown", "refused"})
_NEXT: Final = {stage: frozenset({STAGES[number + 1], "refused"}) for number, stage in enumerate(STAGES[:-1])}
_NEXT["tried"] |= {"shown"}


class IllegalStage(Exception):
    """A message cannot go from the one stage to the other."""


def check_step(before: str, after: str) -> None:
    """Raises IllegalStage unless `after` follows `before`."""
    if after not in _NEXT.get(before, ()):
        raise IllegalStage(f"a message goes from {before} to {' or '.join(sorted(_NEXT.get(before, ['nowhere'])))}, not to {after}")


class Draft(msgspec.Struct, kw_only=True):
    """One candidate and what became of it.

    `outcome`: '' not tried yet, 'unfit' (audit), 'ok', NEEDS_METHOD, or a failure's type. `times`: how many were
    written so; `also`: by whom besides `persona`.
    `effect` identifies result and changes on the real values, `group` those on varied inputs as well: of so many (`varied`) so many failed
    (`varied_failed`), and it did the same on all of them (`steady`). `features`: what the image's rule weighs (`uvm.generation.features`).
    `logprob` is the mean per token (nats), `least` that of the least likely one. `mode`: how it was computed: base, adapter (its product
    added by the side) or merged (its product in the weights). `endpoint`, `endpoint_model`: the server elsewhere that wrote it, and what
    that calls its model; empty: the image's own.
    """

    source: str
    persona: str = ""
    also: list[str] = []
    seed: int | None = None
    temperature: float = 0.0
    logprob: float = 0.0
    least: float = 0.0
    tokens: int = 0
    times: int = 1
    mode: str = ""
    endpoint: str = ""
    endpoint_model: str = ""
    findings: list[str] = []
    outcome: str = ""
    why: str = ""
    effect: str = ""
    group: str = ""
    varied: int = 0
    varied_failed: int = 0
    steady: bool = False
    features: dict[str, float] = {}
    examples: int = 0
    examples_passed: int = 0
    trial: dict[str, Any] = {}


def storable_drafts(drafts: Sequence[Draft]) -> list[Any]:
    """Drafts as a slot holds them."""
    return [msgspec.to_builtins(draft) for draft in drafts]


class Claim(msgspec.Struct, frozen=True):
    """What a process found when it asked for a message.

    `state`: `mine`, `theirs`, `installed` or `refused`; `drafts` are those of an owner that died, to go on from. `withdrawn`: what no draft
    may mean again (`uvm.language.audit.meaning`), and why. `earlier`: the drafts with which it was refused the last time.
    """

    state: str
    oid: bytes
    stage: str = ""
    drafts: list[Draft] = []
    refusal: dict[str, Any] = {}
    withdrawn: dict[str, str] = {}
    earlier: list[Draft] = []


PROMPT: Final = 65_536
"""Characters of the longest prompt."""
MOST_DRAFTS: Final = 32
"""Drafts of one method, whatever the image's plan says."""


class Plan(msgspec.Struct, frozen=True):
    """What the image's `reflectOn_` asks for. Unknown keys are ignored, so that an image may keep notes of its own in it.

    `drafts`: how many are written at first; `most`: how many at most, where those do not decide it. `routed`: what the router thought of
    the personas, kept with the message so that one sees why these were asked.
    """

    prompt: str
    personas: list[str] = []
    drafts: int = 0
    most: int = 0
    temperature: float = 0.8
    max_tokens: int = 240
    chat: bool = False
    routed: list[tuple[str, float]] = []


def plan_of(value: Any, drafts: int, most: int) -> Plan:
    """The image's plan, with bounds kept; `drafts` and `most` where it does not say. Raises msgspec.ValidationError."""
    plan = msgspec.convert(value, Plan)
    if len(plan.prompt) > PROMPT:
        raise msgspec.ValidationError(f"a prompt of {len(plan.prompt):,} characters; {PROMPT:,} are allowed")
    return msgspec.structs.replace(
        plan,
        personas=list(dict.fromkeys(plan.personas[:8])) or ["brick"],
        routed=[(persona[:128], round(chance, 4)) for persona, chance in plan.routed[:8]],
        drafts=(first := min(max(1, plan.drafts or drafts), 16)),
        most=min(max(first, plan.most or most), MOST_DRAFTS),
        temperature=min(max(0.0, plan.temperature), 2.0),
        max_tokens=min(max(16, plan.max_tokens), 2048),
    )


def unique(drafts: Sequence[Draft]) -> list[Draft]:
    """Each source once, with how often it was written; the first one stays, which is the greedy draft."""
    by_source: dict[str, Draft] = {}
    for draft in drafts:
        first = by_source.setdefault(draft.source, draft)
        if first is not draft:
            first.times += draft.times
            first.also += [persona for persona in (draft.persona, *draft.also) if persona not in (first.persona, *first.also)]
    return list(by_source.values())


def anew(draft: Draft) -> Draft:
    """A draft as it was written, before it was audited and tried."""
    as_written = (
        "source",
        "persona",
        "also",
        "seed",
        "temperature",
        "logprob",
        "least",
        "tokens",
        "times",
        "mode",
        "endpoint",
        "endpoint_model",
    )
    return Draft(**{name: getattr(draft, name) for name in as_written})


def fit(drafts: Sequence[Draft]) -> list[int]:
    """The numbers of the drafts that may be installed: those that survived, with every example passed."""
    return [index for index, draft in enumerate(drafts) if draft.outcome == "ok" and draft.examples_passed == draft.examples]


def reasons(drafts: Sequence[Draft]) -> list[dict[str, Any]]:
    """Why each draft was not good enough."""
    listed = []
    for draft in drafts:
        why = draft.why or "; ".join(draft.findings) or draft.outcome or "not tried"
        if draft.outcome == "ok" and draft.examples_passed < draft.examples:
            why = f"passed {draft.examples_passed} of {draft.examples} examples: {why}"
        listed.append({"source": draft.source, "outcome": draft.outcome or "not tried", "why": why})
    return listed


TOLD_REFUSED: Final = 4
"""Refused drafts that a model is told of."""
_LINE: Final = 240


def refused_lines(drafts: Sequence[Draft]) -> list[str]:
    """Drafts that were not good enough, the likeliest first, each with why, in a line for a model to read."""
    lines = []
    for draft, reason in sorted(zip(drafts, reasons(drafts), strict=True), key=lambda pair: -pair[0].logprob)[:TOLD_REFUSED]:
        body = "; ".join(line.strip() for line in draft.source.strip().splitlines()[1:])
        why = "nobody could tell whether it is what was meant" if reason["why"] == "ok" else reason["why"]
        lines.append(" ".join(f"Refused before: {body[:_LINE]} (because: {why[:_LINE]})".split()))
    return lines


def read_by(drafts: Sequence[Draft]) -> list[str]:
    """What drafts read of `self`, in the order of their first mention: the suspects when all of them failed."""
    names: dict[str, None] = {}
    for draft in drafts:
        try:
            tree = ast.parse(draft.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                names[node.attr] = None
    return [name for name in names if not name.startswith("_")]


def sends(source: str, selector: str) -> bool:
    """Whether a source sends a message of that selector, with arguments or without: `box.volume()`; `box.cost` reads a slot."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Attribute) and called.attr == selector for called in calls)


def authors_of(drafts: Sequence[Draft], chosen: int) -> tuple[list[str], list[str]]:
    """Who wrote what does the same as the chosen draft, its author first, and who wrote nothing but others."""
    best, did, wrote = drafts[chosen], dict.fromkeys([drafts[chosen].persona]), dict[str, None]()
    for draft in drafts:
        if draft.mode:
            personas = dict.fromkeys([draft.persona, *draft.also])
            wrote |= personas
            if draft is best or (draft.outcome == "ok" and draft.group and draft.group == best.group):
                did |= personas
    return list(did), [persona for persona in wrote if persona not in did]


def split(drafts: int, personas: Sequence[str]) -> list[tuple[str, int]]:
    """How many drafts each persona writes: as even as it goes, the first ones more."""
    share, rest = divmod(drafts, len(personas))
    return [(persona, share + (number < rest)) for number, persona in enumerate(personas) if share + (number < rest)]
