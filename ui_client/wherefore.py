"""How a method came to be, or why there is none, as a page in a terminal. Pure; any thread may call it.

What is shown is what `why_` answers: {selector, method, message}; any key of these may be missing, and may hold anything, since it comes
out of the image.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ui_client import values
from ui_client.explanation import source_panel

_WORDS = {
    "share": ("{:.0%} of the drafts do what this one does", 0.0),
    "margin": ("it is {:.0%} of the drafts ahead of the next behaviour", 0.0),
    "explained": ("the body explains {:.0%} of the selector's words", 1.0),
    "meant": ("{:.0%} of the slots that it uses are named in the selector", 1.0),
    "ignored": ("{:.0%} of the slots that the selector names are not used", 0.0),
    "unknown": ("{:.0%} of the selector's words are in no task that the judge has learned from", 0.0),
    "idle": ("the selector asks for a change, and it changes nothing", 0.0),
    "meddling": ("the selector asks for no change, and it changes something", 0.0),
    "broken_type": ("its answer is not of the type that the selector promises", 0.0),
    "failed": ("it fails on {:.0%} of the varied inputs", 0.0),
    "steady": ("it does the same whatever the slots hold", 0.0),
    "unused": ("{:.0%} of the arguments are not used", 0.0),
    "declined": ("{:.0%} of the drafts say that the object does not know", 0.0),
}
"""What a feature means in words, and the value with which it is not worth a line."""
_SURPRISING, _LACKING = 0.3, 2.0
"""Tens of nats above what is usual, and nats of an operation that is lacking, from which on they are worth a line."""
_LAST_S = 253_402_300_800
"""The end of the year 9999, seconds since the epoch."""


def choices_of(message: object) -> list[Mapping[str, Any]]:
    """What the refusal of a message offers to choose from."""
    details = _map(_map(_map(message).get("refusal")).get("details"))
    return [
        choice for choice in _list(details.get("choices")) if isinstance(choice, Mapping) and isinstance(choice.get("example"), Mapping)
    ]


def render(facts: Mapping[str, Any], target: str) -> RenderableType:
    """The page."""
    method, message = _map(facts.get("method")), _map(facts.get("message"))
    selector = str(facts.get("selector", ""))
    refusal = _map(message.get("refusal")) if message.get("stage") == "refused" else {}
    parts: list[RenderableType] = []
    if method:
        parts += _of_method(method, selector)
    if refusal and not method:
        parts += _of_refusal(message, refusal, target, selector)
    if not parts:
        parts.append(_line(f"{selector} is {message.get('stage', 'unknown')}: it is being written, or was"))
    return Group(*parts)


def _of_method(method: Mapping[str, Any], selector: str) -> Iterator[RenderableType]:
    proof = _map(method.get("proof"))
    if isinstance(method.get("source"), str):
        yield source_panel(method["source"], selector)
    born = method.get("born")
    yield _line(f"written by {values.show(method.get('author'))}" + (f", {born}" if isinstance(born, str) else ""))
    mode = proof.get("mode")
    if mode in ("offered", "found"):
        yield _line("a tool offered it" if mode == "offered" else "the library had it: it was written for another object of this shape")
    yield from _of_drafts(proof, method.get("examples"))


def _of_refusal(message: Mapping[str, Any], refusal: Mapping[str, Any], target: str, selector: str) -> Iterator[RenderableType]:
    details = _map(refusal.get("details"))
    yield Text(values.showable(f"refused: {refusal.get('message')}"), style="red")
    by = message.get("principal")
    yield _line(f"sent by {by if isinstance(by, str) and by else 'the image itself'}{_at(message.get('ended'))}")
    yield from _of_earlier(_list(message.get("earlier")))
    proof = {"prompt": _map(message.get("plan")).get("prompt"), "drafts": message.get("drafts"), "decision": details.get("decision")}
    yield from _of_drafts(proof, message.get("examples"))
    offered = choices_of(message)
    for number, choice in enumerate(offered, 1):
        example = values.show(choice["example"])
        yield _line(f"--example {number}  {choice.get('drafts')} drafts: {example}")
    if offered:
        yield _line(f"batos send {target} {selector} … --example 1 says that the first of them is right")
    elif refusal.get("remedy"):
        yield _line(str(refusal["remedy"]))


def _of_earlier(earlier: Sequence[object]) -> Iterator[RenderableType]:
    """How it went before, by reason, where it was refused before."""
    refused = [entry for entry in map(_map, earlier) if entry.get("stage") == "refused"]
    if refused:
        often = "once" if len(refused) == 1 else f"{len(refused)} times"
        why = str(refused[0].get("why", ""))[:200]
        yield _line(f"refused {often} before; the last time{_at(refused[0].get('ended'))}: {why}")


def _at(seconds: object) -> str:
    if not isinstance(seconds, int | float) or not 0 < seconds < _LAST_S:
        return ""
    return time.strftime(", %Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _of_drafts(proof: Mapping[str, Any], examples: object) -> Iterator[RenderableType]:
    """What was asked, what was written, and what decided it."""
    if isinstance(prompt := proof.get("prompt"), str) and prompt:
        yield Panel(Text(values.showable(prompt).rstrip()), title="prompt", expand=False)
    drafts = [entry for entry in _list(proof.get("drafts")) if isinstance(entry, Mapping)]
    decision = _map(proof.get("decision"))
    if drafts:
        voices = ", ".join(dict.fromkeys(str(draft.get("persona")) for draft in drafts if draft.get("persona")))
        number = sum(draft["times"] if isinstance(draft.get("times"), int) else 1 for draft in drafts)
        yield _line(f"{number} drafts{f' by {voices}' if voices else ''}:")
        yield from (_line(f"  {text}") for text in _grouped(drafts))
    lines = [entry.get("line") if isinstance(entry, Mapping) else entry for entry in _list(examples)]
    if lines:
        yield _line("examples:")
        yield from (_line(f"  {values.showable(str(line))}") for line in lines)
    if decision:
        yield from _of_decision(decision)


def _grouped(drafts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Drafts by what became of them, the most first; those that did the same are one line."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for draft in drafts:
        outcome = str(draft.get("outcome", ""))
        groups.setdefault(str(draft.get("group")) if outcome == "ok" else outcome, []).append(draft)
    counted = [
        (sum(draft["times"] if isinstance(draft.get("times"), int) else 1 for draft in members), members) for members in groups.values()
    ]
    for number, members in sorted(counted, key=lambda pair: -pair[0]):
        first = members[0]
        if first.get("outcome") == "ok":
            trial = _map(first.get("trial"))
            changed = [
                f"{effect[1]}={values.show(effect[3])}"
                for effect in _list(trial.get("effects"))
                if isinstance(effect, list) and len(effect) == 4
            ]
            after = f", then {', '.join(changed)}" if changed else ""
            yield f"{number} × {values.show(trial.get('result'))}{after}    {_body(first)}"
        else:
            yield f"{number} × {first.get('outcome')}: {str(first.get('why', ''))[:100]}    {_body(first)}"


def _body(draft: Mapping[str, Any]) -> str:
    source = draft.get("source")
    lines = source.strip().splitlines()[1:] if isinstance(source, str) else []
    return "; ".join(line.strip() for line in lines)[:100]


def _of_decision(decision: Mapping[str, Any]) -> Iterator[RenderableType]:
    confidence, threshold, risk = (decision.get(name) for name in ("confidence", "threshold", "risk"))
    if isinstance(confidence, int | float):
        demand = f"; a risk of {risk:.0%} asks for {_threshold_text(threshold)}" if isinstance(risk, int | float) else ""
        yield _line(f"right with a probability of {confidence:.0%}{demand}")
    features = _map(decision.get("features"))
    surprise, usual, lacking = (features.get(name) for name in ("surprise", "usual", "lacking"))
    if isinstance(surprise, int | float) and isinstance(usual, int | float) and surprise > usual + _SURPRISING:
        yield _line("  its operations are more surprising for such words than right ones mostly are")
    if isinstance(lacking, int | float) and lacking >= _LACKING:
        yield _line("  an operation that such words ask for is not in the body")
    for name, value in features.items():
        text, silent = _WORDS.get(name, ("", 0.0))
        if text and isinstance(value, int | float) and value != silent:
            yield _line(f"  {text.format(value)}")


def _threshold_text(threshold: object) -> str:
    if not isinstance(threshold, int | float):
        return "nothing"
    return f"{threshold:.0%}" if threshold <= 1 else "more than any draft has"


def _line(text: str) -> Text:
    return Text(values.showable(text))


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
