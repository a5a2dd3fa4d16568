"""What personas are told about the text that the model is asked with: show it, put another in its place, bring back the first one; and
whose judgement weighs what the model writes.

Primitives, for tools alone, on `pLLM_obj` and so on every persona. The text is in the slot `covenant`, which policy may set like any other;
a change goes through the same rules, the gate and the journal, and the chronicle keeps what was there before (`uvm.history.chronicle`).
Whoever drafts looks at the slot anew, so that a change is in force in every process with its commit.
"""

from itertools import islice
from typing import Any, Final

import msgspec

from uvm.errors import BadPrompt, NotAllowed
from uvm.history import entries
from uvm.history.listing import LOOKED
from uvm.image import judgement, prompts
from uvm.image.large import loaded
from uvm.image.prompts import MIND, SLOT, Covenant
from uvm.image.views import COVENANT
from uvm.objects import ABSENT, UvmObject
from uvm.runtime.runtime import Primitive, Runtime

EARLIER: Final = 20
"""Earlier texts that are shown, the newest first."""
_LOOKED_AT: Final = 20
_SHOWN: Final = 2000
"""Units that an entry of the chronicle costs, and a look at one persona's text and adapter."""


def show_prompt(runtime: Runtime, receiver: UvmObject) -> dict[str, Any]:
    """The text that the receiver is asked with: whose it is, whether its adapter knows it, and what was there before."""
    _check(runtime, "showPrompt", receiver)
    return {**_described(runtime, receiver), "earlier": _earlier(runtime, receiver)}


def show_judgement(runtime: Runtime, receiver: UvmObject) -> dict[str, Any]:
    """Whose numbers weigh drafts, and whether they are of what the receiver speaks with."""
    _check(runtime, "showJudgement", receiver)
    return _judgement(runtime, receiver)


def use_prompt(runtime: Runtime, receiver: UvmObject, text: str) -> dict[str, Any]:
    """Have the receiver, and who inherits from it, be asked with another text. Raises BadPrompt."""
    _check(runtime, "usePrompt_", receiver)
    before = prompts.in_force(runtime.image, receiver)
    if receiver.own(SLOT) != prompts.check(text):
        runtime.put(receiver, SLOT, text)
    else:
        runtime.check_writable(receiver)
    return _changed(runtime, receiver, before)


def reset_prompt(runtime: Runtime, receiver: UvmObject) -> dict[str, Any]:
    """Have the receiver be asked with what its adapter was trained on; where it inherits that, or none says, with what it inherits."""
    _check(runtime, "resetPrompt", receiver)
    runtime.check_writable(receiver)
    before = prompts.in_force(runtime.image, receiver)
    adapter = prompts.adapter_of(runtime.image, receiver)
    trained = prompts.trained_on(adapter) if adapter is not None else None
    if receiver is runtime.image.names.get(MIND):
        wanted: str | None = trained or COVENANT
    else:
        inherited = prompts.in_force(runtime.image, receiver, inherited=True)
        wanted = trained if trained not in (None, inherited.text) else None
    if wanted is None and receiver.own(SLOT) is not ABSENT:
        runtime.drop(receiver, SLOT)
    elif wanted is not None and receiver.own(SLOT) != wanted:
        runtime.put(receiver, SLOT, wanted)
    return _changed(runtime, receiver, before)


PROMPTS: dict[str, Primitive] = {
    "showPrompt": show_prompt,
    "showJudgement": show_judgement,
    "usePrompt_": use_prompt,
    "resetPrompt": reset_prompt,
}


# --- inside -----------------------------------------------------------------------------------------------------------


def _check(runtime: Runtime, selector: str, receiver: UvmObject) -> None:
    if runtime.attempt.frames:
        raise NotAllowed(
            f"{selector} is asked by tools, not by methods: what the model is asked with is no part of what a method is tried on",
            f"a method reads the slot {SLOT} of a persona, and with `policy` sets it",
        )
    runtime.attempt.charge(_SHOWN)
    if not prompts.is_persona(runtime.image, receiver):
        raise BadPrompt(
            f"{receiver!r} is no persona: nobody drafts in its voice",
            f"{MIND} is asked for all personas, and a clone of it, such as robin, for itself",
        )


def _described(runtime: Runtime, persona: UvmObject) -> dict[str, Any]:
    covenant, adapter = prompts.in_force(runtime.image, persona), prompts.adapter_of(runtime.image, persona)
    trained = prompts.trained_on(adapter) if adapter is not None else None
    return {
        "persona": _named(runtime, persona),
        "from": _named(runtime, covenant.holder) if covenant.holder is not None else "",
        "slot": covenant.slot,
        "text": covenant.text,
        **_measured(covenant.text),
        "adapter": {"name": adapter.name, "digest": adapter.digest} if adapter is not None else None,
        "trained_on": prompts.digest(trained) if trained is not None else "",
        "as_trained": None if trained is None else trained == covenant.text,
        "judgement": _judgement(runtime, persona),
    }


def _judgement(runtime: Runtime, persona: UvmObject) -> dict[str, Any]:
    in_force: dict[str, Any] = msgspec.to_builtins(judgement.in_force(runtime.image, runtime.image.named(MIND), persona))
    return in_force


def _measured(text: str) -> dict[str, Any]:
    return {"digest": prompts.digest(text), "characters": len(text), "tokens": prompts.tokens(text)}


def _changed(runtime: Runtime, receiver: UvmObject, before: Covenant) -> dict[str, Any]:
    """What is in force now; `unfit`: personas whose adapter was trained on another text, the receiver and those that inherit from it."""
    inheriting = [other for other in runtime.image.primordial() if other is not receiver and receiver in other.chain()]
    runtime.attempt.charge(_SHOWN * len(inheriting))
    holder = prompts.in_force(runtime.image, receiver).holder
    inheriting = [
        other
        for other in inheriting
        if prompts.is_persona(runtime.image, other) and prompts.in_force(runtime.image, other).holder is holder
    ]
    in_force = _described(runtime, receiver)
    described = [in_force, *(_described(runtime, other) for other in inheriting)]
    unfit = [persona["persona"] for persona in described if persona["as_trained"] is False]
    return {**in_force, "before": {"text": before.text, **_measured(before.text)}, "unfit": unfit}


def _earlier(runtime: Runtime, persona: UvmObject) -> list[dict[str, Any]]:
    """What was in the slots that the persona's text comes from, as far as the newest entries of the chronicle know."""
    chain = {id(ancestor): ancestor for ancestor in persona.chain()}
    earlier: list[dict[str, Any]] = []
    for recorded in islice(entries.newest_first(runtime.image, chronicle=True), LOOKED):
        runtime.attempt.charge(_LOOKED_AT)
        owner = recorded.entry.get("object")
        if recorded.entry.get("kind") != "prompt" or id(owner) not in chain:
            continue
        runtime.attempt.charge(_SHOWN)
        text = loaded(recorded.entry.get("facts", {})).get("before", {}).get("text")
        earlier.append(
            {
                "entry": recorded.id,
                "at": recorded.entry.get("at", 0),
                "by": recorded.entry.get("author", ""),
                "of": _named(runtime, chain[id(owner)]),
                "slot": recorded.entry.get("slot", ""),
                "text": text,
                **(_measured(text) if text is not None else {}),
            }
        )
        if len(earlier) == EARLIER:
            break
    return earlier


def _named(runtime: Runtime, owner: UvmObject) -> str:
    names = runtime.image.names_of(owner)
    return names[0] if names else str(runtime.image.reference(owner))
