"""What the loop keeps in the image, and reads out of it. Called by the heartbeat's one thread, within a transaction.

Layout: the named, primordial object `autotelic_obj` with the slots `policy` (`uvm.autotelic.policy`; messages replace it), `series` (an
object with a slot for each grain, each an object whose slot `rows` holds them, so that a beat writes one small record), `last` (the
newest measurement and decision), `mood`, `gaps` and `rounds` (lists of objects, the newest `KEPT` of each), `cancel` (the id of an order
that a message does not want any more), and `forge` (whether a forge runs with the service, `uvm.autotelic.switches`).

A gap has the slots of `uvm.autotelic.inquiry.CapabilityGap`, its evidence as ids of chronicle entries. A round is one way through the
loop: `order` and `exam` (JSON, handed to the forge again after a crash), `gap` (an object, or nil where people asked), `phase` (`forging`,
`shadow`, `probation` or `ended`), `given`, `shadowed` (since when it is in its shadow) and `installed` (seconds since the epoch), `cpu_s`,
`report`, `verdict`, `outcome`, `digest` of the adapter, `shadow` (a map for each message, `uvm.autotelic.shadow.ShadowedMessage`; UVMs
write them), and `before`, the adapter that it replaced, or nil. Everything is read by type and never trusted: policy may put anything into
these slots.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from deploy.orders import Order, TaughtPair
from uvm.autotelic import inquiry, policy, probation, series, switches
from uvm.autotelic.dissonance import Decision, Mood, SpentBudget
from uvm.autotelic.inquiry import CapabilityGap, Evidence
from uvm.autotelic.shadow import ShadowedMessage, ShadowOrder
from uvm.autotelic.windows import Composite
from uvm.errors import ImageError, NoSuchObject
from uvm.history import chronicle, entries
from uvm.history.entries import Recorded
from uvm.image import views
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import generated, runs
from uvm.objects import ABSENT, PARENTS, UvmObject
from uvm.protocol import Reference

KEPT: Final = 32
"""Gaps and rounds that are kept; the chronicle remembers the older ones."""
LOOKED: Final = 2000
"""Entries of the chronicle that one look goes through, the newest."""
DAY_S: Final = 86_400
AGE_S: Final = 14 * DAY_S
"""Older evidence is no evidence of what is missing now."""
_DOUBT: Final = 0.6
"""What was installed with less confidence is evidence of doubt."""
_PERMANENT: Final = frozenset({"Refused", "Declined", "TrialFailed"})
_AGAIN: Final = "send it again"
"""How the remedy of a refusal begins that is no judgement on what was asked: the engine was away, others were busy, time ran out."""


def ensure(image: Image) -> bool:
    """Make the object where the image has none; whether it did. A name that somebody has given to something else stays theirs."""
    if policy.NAME in image.names:
        return False
    grains = {grain.name: UvmObject({"rows": []}) for grain in series.GRAINS}
    slots: dict[str, Any] = {
        PARENTS: [image.named("traits_obj")],
        "name": policy.NAME,
        policy.SLOT: msgspec.to_builtins(policy.AutotelicPolicy()),
        "series": UvmObject({PARENTS: [image.named("traits_obj")], **grains}),
        "last": None,
        "mood": msgspec.to_builtins(Mood()),
        "gaps": [],
        "rounds": [],
        "cancel": None,
        switches.SLOT: False,
    }
    image.give_name(UvmObject(slots), policy.NAME)
    image.root["primordial"] = [*image.root["primordial"], policy.NAME]
    return True


def holder(image: Image) -> UvmObject:
    """The loop's object. Raises NoSuchObject."""
    return image.named(policy.NAME)


def mood(image: Image) -> Mood:
    try:
        return msgspec.convert(views.slot(holder(image), "mood", dict, {}), Mood)
    except msgspec.ValidationError:
        return Mood()


def note(image: Image, at: int, measured: Composite, decision: Decision) -> None:
    """Write down a measurement and what was decided; into the chronicle only where kind or reason are not those of before."""
    loop = holder(image)
    _enter_row(loop, series.row(at, measured))
    before = views.slot(loop, "last", dict, {}) if loop.own("last") is not None else {}
    loop.put("last", {"at": at, **msgspec.to_builtins(measured), "decision": decision.kind, "reason": decision.reason})
    if msgspec.to_builtins(decision.mood) != loop.own("mood"):
        loop.put("mood", msgspec.to_builtins(decision.mood))
    if (before.get("decision"), before.get("reason")) != (decision.kind, decision.reason):
        facts = {"decision": decision.kind, "reason": decision.reason, "cem": measured.cem, "dissonant": decision.mood.dissonant}
        chronicle.record(image, "decision", author="heartbeat", object=loop, facts=facts)


def _enter_row(loop: UvmObject, row: series.Row) -> None:
    grains = loop.own("series")
    if type(grains) is not UvmObject:
        return
    holders = {grain.name: held for grain in series.GRAINS if type(held := grains.own(grain.name)) is UvmObject}
    rows = {name: _rows(held) for name, held in holders.items()}
    for name, changed in series.taken_in(rows, row).items():
        if name in holders:
            holders[name].put("rows", changed)


def _rows(held: UvmObject) -> list[series.Row]:
    width = 3 + len(series.PARTS)
    rows = views.slot(held, "rows", list, [])
    return [row for row in rows if type(row) is list and len(row) == width and all(type(number) is int for number in row[:3])]


# --- evidence ---------------------------------------------------------------------------------------------------------


def recent(image: Image, since: float, most: int = LOOKED) -> Iterator[Recorded]:
    """Entries of the chronicle from that time on, the newest first."""
    for recorded in islice(entries.newest_first(image, chronicle=True), most):
        if recorded.entry["at"] < since:
            return
        yield recorded


def evidence(image: Image, now: float) -> list[Evidence]:
    """What went badly and nobody has inquired into yet, the oldest first."""
    known = {entry for gap in views.objects(holder(image), "gaps") for entry in views.slot(gap, "evidence", list, [])}
    found = (_evidence(recorded) for recorded in recent(image, now - AGE_S) if recorded.id not in known)
    return list(islice((each for each in found if each is not None), inquiry.MOST))[::-1]


def _evidence(recorded: Recorded) -> Evidence | None:
    entry = recorded.entry
    kind, message, method = entry["kind"], entry.get("cause"), entry.get("method")
    if kind == "refusal" and type(message) is UvmObject and is_judgement(message):
        return _of_message("refusal", recorded, message)
    if kind in ("removal", "correction") and is_method(method) and isinstance(method, UvmObject):
        replaced = method if kind == "removal" else method.own("replaced")
        if isinstance(replaced, UvmObject) and is_method(replaced) and generated(replaced):
            return Evidence(
                "removal" if kind == "removal" else "correction", recorded.id, str(method.own("selector")), (), str(entry["author"])
            )
    if kind == "install" and is_method(method) and isinstance(method, UvmObject) and generated(method):
        sure = method.own("proof").get("confidence")
        if isinstance(sure, float) and sure < _DOUBT:
            return Evidence("doubt", recorded.id, str(method.own("selector")), (), str(entry["author"]))
    return None


def is_judgement(message: UvmObject) -> bool:
    """Whether a refused message was judged: drafts were written for it and none was taken. A passing failure never becomes a lesson."""
    refusal = views.slot(message, "refusal", dict, {})
    passing = str(refusal.get("remedy", "")).startswith(_AGAIN)
    return refusal.get("type") in _PERMANENT and not passing and bool(views.slot(message, "drafts", list, []))


def _of_message(kind: inquiry.Kind, recorded: Recorded, message: UvmObject) -> Evidence:
    slots = [pair for pair in views.slot(message, "slots", list, []) if type(pair) is list and len(pair) == 2 and type(pair[1]) is str]
    values = tuple(dict.fromkeys(inquiry.kind_of(literal) for _, literal in slots))
    oid = message._p_oid
    reference = str(Reference(oid)) if isinstance(oid, bytes) else ""
    return Evidence(kind, recorded.id, views.slot(message, "selector", str, ""), values, str(recorded.entry["author"]), reference)


def record_of(image: Image, since: float, until: float) -> probation.EndingCounts:
    """How messages ended for which drafts were asked, between two moments."""
    asked = bad = 0
    for recorded in recent(image, since):
        if recorded.entry["at"] >= until:
            continue
        if (judged := _evidence(recorded)) is not None and judged.kind != "doubt":
            asked, bad = asked + (judged.kind == "refusal"), bad + 1
        elif recorded.entry["kind"] == "install" and isinstance(method := recorded.entry.get("method"), UvmObject) and generated(method):
            asked += 1
    return probation.EndingCounts(max(asked, bad), bad)


# --- lessons ----------------------------------------------------------------------------------------------------------


def lessons(image: Image, now: float) -> list[TaughtPair]:
    """What may be learned from people, the oldest first: accepted methods that satisfy somebody's examples, and refused messages whose
    method a person wrote afterwards."""
    refused: dict[tuple[str, bytes | None], UvmObject] = {}
    made: list[TaughtPair] = []
    for recorded in reversed(list(recent(image, now - AGE_S))):
        entry, method = recorded.entry, recorded.entry.get("method")
        message = entry.get("cause")
        if entry["kind"] == "refusal" and type(message) is UvmObject and is_judgement(message):
            refused[str(message.own("selector")), _oid(message.own("receiver"))] = message
        if entry["kind"] not in ("install", "correction") or not isinstance(method, UvmObject) or not is_method(method) or not runs(method):
            continue
        proof, source = views.slot(method, "proof", dict, {}), views.slot(method, "source", str, "")
        signature, _, body = source.partition("\n")
        prompt = str(proof.get("prompt", ""))
        if proof.get("mode") == "offered":
            asked = refused.get((str(method.own("selector")), _oid(entry.get("object"))))
            prompt = prompt_of(asked) if asked is not None else ""
        if "\nExample: " in prompt and prompt.rstrip("\n").endswith(signature):
            _add(made, prompt, body, method, str(proof.get("principal") or entry["author"]))
    return made


def asked_for(image: Image) -> list[tuple[UvmObject, list[TaughtPair]]]:
    """Lessons that messages gave (`fineTuneWith_`) and nobody has taken up yet."""
    waiting = []
    for _, owner in image.names.items():
        for lesson in views.objects(owner, "lessons") if type(owner) is UvmObject else ():
            if lesson.own("state") == "waiting":
                pairs: list[TaughtPair] = []
                for pair in views.slot(lesson, "examples", list, []):
                    if isinstance(pair, dict) and isinstance(pair.get("prompt"), str) and isinstance(pair.get("answer"), str):
                        _add(pairs, pair["prompt"], pair["answer"], lesson, views.slot(lesson, "principal", str, ""))
                waiting.append((lesson, pairs))
    return waiting


def prompt_of(message: UvmObject) -> str:
    """The text with which a message's method is asked for, from the message object."""
    shown = [f"{pair[0]} = {pair[1]}" for pair in views.slot(message, "slots", list, []) if type(pair) is list and len(pair) == 2]
    told = [f"Example: {line}" for line in views.slot(message, "examples", list, []) if type(line) is str]
    parts = [views.COVENANT, "Object:", *shown, f"Message: {message.own('call')}", *told, str(message.own("signature"))]
    return "\n".join(parts) + "\n"


def _add(made: list[TaughtPair], prompt: str, answer: str, origin: UvmObject, principal: str) -> None:
    try:
        oid = origin._p_oid
        reference = str(Reference(oid)) if isinstance(oid, bytes) else ""
        made.append(msgspec.convert({"prompt": prompt, "answer": answer, "origin": reference, "principal": principal}, TaughtPair))
    except msgspec.ValidationError:
        return  # longer than the forge takes


def _oid(target: Any) -> bytes | None:
    oid = target._p_oid if type(target) is UvmObject else None
    return oid if isinstance(oid, bytes) else None


# --- gaps and rounds --------------------------------------------------------------------------------------------------


def enter_gap(image: Image, gap: CapabilityGap, at: int) -> UvmObject:
    """Keep a gap, and write it down."""
    loop = holder(image)
    facts = {name: value for name, value in msgspec.to_builtins(gap).items() if name != "evidence"}
    made = UvmObject(
        {
            PARENTS: [image.named("traits_obj")],
            **facts,
            "words": list(gap.words),
            "values": list(gap.values),
            "digest": gap.digest,
            "evidence": [each.entry for each in gap.evidence],
            "messages": [each.message for each in gap.evidence if each.message],
            "measure": "held-out tasks with its words; exact McNemar, one-sided, at the policy's alpha",
            "at": at,
        }
    )
    loop.put("gaps", [*views.objects(loop, "gaps"), made][-KEPT:])
    chronicle.record(image, "gap", author="heartbeat", object=made, facts={"name": gap.name, "weight": gap.weight, "tasks": gap.tasks})
    return made


def enter_round(image: Image, order: Order, exam: Any, gap: UvmObject | None, at: int) -> UvmObject:
    """Begin a round."""
    loop = holder(image)
    slots: dict[str, Any] = {
        PARENTS: [image.named("traits_obj")],
        "id": order.id,
        "order": msgspec.json.encode(order).decode(),
        "exam": msgspec.json.encode(exam).decode(),
        "gap": gap,
        "phase": "forging",
        "given": at,
        "shadowed": 0,
        "shadow": [],
        "installed": 0,
        "cpu_s": 0.0,
        "report": None,
        "verdict": None,
        "digest": "",
        "before": None,
        "outcome": "",
    }
    made = UvmObject(slots)
    loop.put("rounds", [*views.objects(loop, "rounds"), made][-KEPT:])
    return made


def current_round(image: Image) -> UvmObject | None:
    """The round that has not ended."""
    rounds = views.objects(holder(image), "rounds")
    return next((each for each in reversed(rounds) if each.own("phase") in ("forging", "shadow", "probation")), None)


def shadowed(entered: UvmObject) -> list[ShadowedMessage]:
    """The messages beside which a round's candidate has drafted."""
    try:
        return msgspec.convert(views.slot(entered, "shadow", list, []), list[ShadowedMessage])
    except msgspec.ValidationError:
        return []


def shadowing(image: Image, now: float) -> ShadowOrder | None:
    """What is to be drafted beside live messages now, if anything is: called by UVMs."""
    try:
        rule, current = policy.read(views.slot(holder(image), policy.SLOT, dict, {}))[0], current_round(image)
        if current is None or current.own("phase") != "shadow" or len(shadowed(current)) >= rule.shadow:
            return None
        if now - views.slot(current, "shadowed", int, 0) >= rule.shadow_s:
            return None
        order = msgspec.json.decode(views.slot(current, "order", str, ""), type=Order)
    except (NoSuchObject, msgspec.DecodeError):
        return None
    return ShadowOrder(order.id, views.slot(current, "digest", str, ""), order.start)


def enter_shadowed(image: Image, order: str, seen: ShadowedMessage, now: float) -> bool:
    """Write down what a candidate would have done, while there is room and time for it; whether it was."""
    due, current = shadowing(image, now), current_round(image)
    if due is None or current is None or due.id != order:
        return False
    current.put("shadow", [msgspec.to_builtins(each) for each in (*shadowed(current), seen)])
    return True


def budget(image: Image, now: float) -> SpentBudget:
    """What was spent within a day."""
    rounds = views.objects(holder(image), "rounds")
    given = [(views.slot(each, "given", int, 0), views.slot(each, "cpu_s", float, 0.0)) for each in rounds]
    lately = [(at, cpu_s) for at, cpu_s in given if now - at < DAY_S]
    return SpentBudget(sum(cpu_s for _, cpu_s in lately), len(lately), max((at for at, _ in given), default=0))


def adapter_of(image: Image, mind: UvmObject) -> UvmObject | None:
    """The adapter in a persona's own slot, as the kernel made it."""
    adapter = mind.own("adapter")
    try:
        return adapter if adapter is not ABSENT and adapter is not None and views.weights(adapter, "adapter") else None
    except ImageError:
        return None
