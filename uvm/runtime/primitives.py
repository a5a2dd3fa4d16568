"""What `traits_obj`, `pLLM_obj` and message objects can do without any source in the image.

Each primitive is a function of the runtime, the receiver and the message's arguments; the table names the object on whose slot
it appears. Everything here is mechanism; what the system decides is in `primordial/`.
"""

import time
from typing import Any, NoReturn

from uvm.autotelic import switches
from uvm.errors import BadArguments, Declined, ForgeOff, NotAllowed
from uvm.image import library, views
from uvm.image.large import weight
from uvm.image.message_object import MIRROR, is_method, is_object_name, is_word
from uvm.image.methods import explanation, runs
from uvm.language.weights import PRIMITIVE
from uvm.objects import ABSENT, KIND, NAMES, PARENTS, Counter, UvmObject, same_value
from uvm.runtime import recollection, revoking, router, wherefore
from uvm.runtime.authority import check_name_loss, check_new_parent, check_parent_removal
from uvm.runtime.behaviour import primitive_of
from uvm.runtime.personas import PERSONAS
from uvm.runtime.prompting import PROMPTS
from uvm.runtime.runtime import Primitive, Runtime, check_name, shown
from uvm.runtime.wishing import UPGRADES
from uvm.values.slot_values import checked, copied

MAX_TOKENS = 512
_SETTLED = ("selector", "source", "author", "digest", "policy", "primitive", "installed_on")
_COMPARED = 16_000_000
"""Bytes of an expected value that a comparison is charged for; no slot holds more."""
_STEP = 40
"""Units that it costs to look at one object of a chain."""
_EXPLAINED = 1000
"""Units that a method's explanation costs."""
_NAMED = 250
"""Units that looking up a name costs."""
_EXPLORATION = "exploration"
_ROUTING = 5000
"""Units that the router's look at one persona costs."""


def clone(runtime: Runtime, receiver: UvmObject) -> UvmObject:
    """A new object with copies of the receiver's slots and the same parents. What makes an object the kernel's is not copied."""
    walk = runtime.attempt.walk
    runtime.attempt.charge(500 + 30 * len(receiver._slots))
    if runtime.attempt.frames == [] and not runtime.attempt.writable:
        raise NotAllowed("this message may only look")
    slots = {name: value for name, value in receiver._slots.items() if not name.endswith("*") or name == PARENTS}
    twin = UvmObject({name: copied(value, walk) for name, value in slots.items()})
    runtime.attempt.made(twin)
    _count(runtime, receiver, "clones")
    return twin


def _count(runtime: Runtime, receiver: UvmObject, slot: str) -> None:
    """Add one to the nearest counter of that name up the chain, where there is one that may be written."""
    holder = receiver.holder(slot)
    counter = holder.own(slot) if holder is not None else ABSENT
    if holder is not None and type(counter) is Counter and runtime.attempt.writable:
        runtime.attempt.writing(holder, slot)
        counter.add(1)
        holder._p_changed = True


def set_slot_value(runtime: Runtime, receiver: UvmObject, name: str, value: Any) -> UvmObject:
    """Set an own slot; answers the receiver."""
    runtime.put(receiver, name, value)
    return receiver


def remove_slot(runtime: Runtime, receiver: UvmObject, name: str) -> UvmObject:
    """Remove an own slot; answers the receiver."""
    runtime.drop(receiver, name)
    return receiver


def compare_and_set(runtime: Runtime, receiver: UvmObject, name: str, expected: Any, value: Any) -> bool:
    """Set an own data slot if it holds `expected`, of the same types throughout; whether it did. A slot that is not there holds nothing."""
    check_name(name)
    before = receiver.own(name)
    runtime.attempt.charge(150 + 3 * weight(expected, _COMPARED))
    if before is ABSENT or is_method(before) or not same_value(before, checked(expected)):
        return False
    runtime.put(receiver, name, value)
    return True


def slot(runtime: Runtime, receiver: UvmObject, name: str) -> Any:
    """Send a message without arguments whose selector is known only at run time."""
    check_name(name)
    return runtime.send(receiver, name, (), {})


def perform(
    runtime: Runtime, receiver: UvmObject, selector: str, arguments: list[Any] | None = None, keywords: dict[str, Any] | None = None
) -> Any:
    """Send a message whose selector and arguments are known only at run time."""
    check_name(selector)
    if not isinstance(arguments, list | None) or not isinstance(keywords, dict | None):
        raise BadArguments("perform_ takes a selector, a list of arguments and a dict of keyword arguments")
    runtime.attempt.charge(2 * len(arguments or ()) + 20 * len(keywords or {}))
    for name in keywords or ():
        check_name(name)
    return runtime.send(receiver, selector, tuple(arguments or ()), dict(keywords or {}))


def mirror(runtime: Runtime, receiver: UvmObject, selector: str, /, *arguments: Any, **keywords: Any) -> Any:
    """Carry out what the kernel means by a selector, whatever the receiver and its parents call their slots."""
    # Once to count them, once to look.
    runtime.attempt.charge(PRIMITIVE + 2 * _STEP * sum(1 for _ in receiver.chain()))
    primitive = primitive_of(receiver, selector) if is_word(selector) else None
    if primitive is None or primitive == MIRROR:
        raise BadArguments(
            f"a mirror of {receiver!r} has no {shown(selector)}: it carries out what the kernel itself gives an object",
            f"{MIRROR} takes one of these and its arguments: {', '.join(name for name in TRAITS if name != MIRROR)}",
        )
    return runtime.carry_out(receiver, primitive, arguments, keywords)


def slot_names(runtime: Runtime, receiver: UvmObject) -> list[str]:
    """The receiver's own slots, in order."""
    runtime.attempt.charge(5 * len(receiver._slots))
    return receiver.names()


def parents(runtime: Runtime, receiver: UvmObject) -> list[UvmObject]:
    """The receiver's parents, in order of lookup."""
    return receiver.parents()


def add_parent(runtime: Runtime, receiver: UvmObject, parent: UvmObject) -> UvmObject:
    """Add a last parent. Raises ParentCycle; two processes that each add the other as a parent cannot both commit."""
    if type(parent) is not UvmObject:
        raise BadArguments("addParent_ takes an object")
    runtime.check_writable(receiver)
    ancestors = check_new_parent(receiver, parent, runtime.attempt.charge)
    if parent in receiver.parents():
        raise NotAllowed(f"{parent!r} is already a parent of {receiver!r}")
    runtime.image.read_current(ancestors)
    runtime.attempt.writing(receiver, PARENTS)
    receiver.put(PARENTS, [*receiver.parents(), parent])
    return receiver


def remove_parent(runtime: Runtime, receiver: UvmObject, parent: UvmObject) -> UvmObject:
    """Remove a parent; an object keeps at least one, or it could not be sent anything any more."""
    runtime.check_writable(receiver)
    if type(parent) is not UvmObject:
        raise BadArguments("removeParent_ takes an object")
    check_parent_removal(runtime.image, receiver, parent)
    parents = [ancestor for ancestor in receiver.parents() if ancestor is not parent]
    if len(parents) == len(receiver.parents()):
        raise NotAllowed(f"{parent!r} is no parent of {receiver!r}")
    if not parents:
        raise NotAllowed("an object keeps at least one parent", "add another one first")
    runtime.attempt.writing(receiver, PARENTS)
    receiver.put(PARENTS, parents)
    return receiver


def responds_to(runtime: Runtime, receiver: UvmObject, selector: str) -> bool:
    """Whether the receiver or a parent has the selector."""
    value = receiver.lookup(selector) if is_word(selector) else ABSENT
    return value is not ABSENT and (not is_method(value) or runs(value))


def name_as(runtime: Runtime, receiver: UvmObject, name: str) -> UvmObject:
    """Make the receiver known by a name; a taken name is refused."""
    if not is_object_name(name):
        raise NotAllowed(f"{shown(name)} cannot name an object: 1 to 256 printable characters, not beginning with @ or _")
    runtime.check_writable(receiver)
    names: Any = runtime.image.names
    runtime.attempt.charge(_NAMED)
    holder: UvmObject | None = names.get(name)
    if holder is not None and holder is not receiver:
        raise NotAllowed(f"{shown(name)} is the name of another object", "forgetName_ it first")
    runtime.attempt.writing(receiver, NAMES)
    runtime.image.give_name(receiver, name)
    return receiver


def forget_name(runtime: Runtime, receiver: UvmObject, name: str) -> UvmObject:
    """Take one of the receiver's names away."""
    names: Any = runtime.image.names
    runtime.check_writable(receiver)
    runtime.attempt.charge(_NAMED)
    holder: UvmObject | None = names.get(name) if type(name) is str else None
    if holder is not receiver:
        raise NotAllowed(f"{shown(name)} is not a name of {receiver!r}")
    check_name_loss(runtime.image, name)
    runtime.attempt.writing(receiver, NAMES)
    runtime.image.take_name(receiver, name)
    return receiver


def named_objects(runtime: Runtime, receiver: UvmObject) -> list[UvmObject]:
    """The objects that have names, each once, in the order of their names; genesis_obj itself is left out."""
    names: Any = runtime.image.names
    runtime.attempt.charge(5 * len(names))
    genesis = names.get("genesis_obj")
    return [named for named in dict.fromkeys(names.values()) if named is not genesis]


def own_names(runtime: Runtime, receiver: UvmObject) -> list[str]:
    """The names under which the receiver is known."""
    return runtime.image.names_of(receiver)


def now(runtime: Runtime, receiver: UvmObject) -> str:
    """The time of the message, UTC, ISO 8601; the same however often the message is attempted."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(runtime.attempt.now))


def explain(runtime: Runtime, receiver: UvmObject, selector: str) -> dict[str, Any]:
    """A method's source and author; to a tool also its proof and history.

    A method gets what was settled when it was written, and so is the same in its trial and ever after.
    """
    if not is_word(selector):
        raise BadArguments(f"explain_ takes a selector, not {shown(selector)}")
    runtime.attempt.charge(_EXPLAINED)
    holder = receiver.holder(selector)
    value = holder.own(selector) if holder is not None else ABSENT
    if holder is None or not isinstance(value, UvmObject) or not is_method(value):
        raise BadArguments(f"{selector} is no method of {receiver!r}", "batos inspect lists the methods")
    explained = explanation(holder, value)
    if runtime.attempt.frames:
        return {name: explained[name] for name in _SETTLED if name in explained}
    came = library.arrival(runtime.image, holder, value) if explained["shared"] else None
    return {**explained, "came": came} if came is not None else explained


def infer(runtime: Runtime, receiver: UvmObject, prompt: str, max_tokens: int = 128) -> str:
    """The model's continuation of a prompt, with the receiver's adapter; the message is set aside until it is there."""
    if type(prompt) is not str or not prompt or type(max_tokens) is not int or not 1 <= max_tokens <= MAX_TOKENS:
        raise BadArguments(f"infer_ takes a text and at most {MAX_TOKENS} tokens")
    return runtime.think(receiver, prompt, max_tokens)


def routed(runtime: Runtime, receiver: UvmObject, message: UvmObject) -> list[list[Any]]:
    """Whom the router would ask about a message: [persona, probability to be the first] of each, in the order in which they are asked.

    The first one is drawn, the others come the likeliest first; nothing while it knows too little. The receiver's slot `exploration` is the
    share of the messages for which it is drawn evenly.
    """
    router_object = runtime.image.root.get("router")
    if type(message) is not UvmObject or message.own(KIND) != "message":
        raise BadArguments("routed_ takes a message object, as doesNotUnderstand_ gets it")
    if router_object is None:
        return []
    share = receiver.lookup(_EXPLORATION)
    explored = float(share) if type(share) in (int, float) and 0 <= share <= 1 else router.EXPLORATION
    ranking = router.drawn(router_object, router.facts_of(message), explored)
    runtime.attempt.charge(_ROUTING * (1 + len(ranking)))
    return [[persona, chance] for persona, chance in ranking]


def fine_tune_with(runtime: Runtime, receiver: UvmObject, examples: list[Any]) -> UvmObject:
    """Ask for what is in pairs of prompt and wanted answer to be learned; answers the lesson, whose `state` says what becomes of it.

    The autotelic loop takes it up (`uvm.autotelic`): each pair must prove itself on the examples in its prompt. Raises ForgeOff where
    nothing is trained, and keeps nothing then.
    """
    pairs = (
        [pair for pair in examples if isinstance(pair, dict) and set(pair) == {"prompt", "answer"}] if isinstance(examples, list) else []
    )
    if not pairs or len(pairs) != len(examples) or not all(isinstance(text, str) and text for pair in pairs for text in pair.values()):
        raise BadArguments("fineTuneWith_ takes a list of {'prompt': text, 'answer': text}")
    runtime.check_writable(receiver)
    if missing := switches.missing(runtime.image):
        raise ForgeOff("nothing is trained here, so the lessons were not kept", f"switch it on: {'; '.join(missing)}")
    lesson = UvmObject(
        {
            PARENTS: [runtime.image.named("traits_obj")],
            "persona": receiver,
            "principal": runtime.attempt.principal,
            "examples": checked(pairs),
            "state": "waiting",
            "since": now(runtime, receiver),
        }
    )
    runtime.attempt.made(lesson)
    lessons = views.objects(receiver, "lessons")
    runtime.put(receiver, "lessons", [*lessons, lesson])
    return lesson


def be_written(runtime: Runtime, receiver: UvmObject, plan: dict[str, Any]) -> NoReturn:
    """Ask the kernel to have this message's method written according to the plan."""
    if receiver.own(KIND) != "message":
        raise BadArguments("beWritten_ is for a message object, as doesNotUnderstand_ gets it")
    sent = [receiver.own(name) for name in ("receiver", "arguments", "keywords")]
    if receiver.own("stage") is not ABSENT or [type(part) for part in sent] != [UvmObject, list, dict]:
        raise BadArguments("this message is a record of one that was carried out; its method is not to be written any more")
    if type(plan) is not dict or type(plan.get("prompt")) is not str or not plan["prompt"]:
        raise BadArguments("beWritten_ takes a plan: a dict with at least a prompt")
    runtime.miss(receiver, checked(plan))


def decline(runtime: Runtime, receiver: UvmObject, reason: str = "") -> None:
    """End the attempt because the receiver does not know."""
    runtime.attempt.finish(Declined(str(reason)[:500] or "the object does not know"))


TRAITS: dict[str, Primitive] = {
    "clone": clone,
    "setSlot_value_": set_slot_value,
    "removeSlot_": remove_slot,
    "compareAndSet_": compare_and_set,
    "slot_": slot,
    "perform_": perform,
    "slotNames": slot_names,
    "parents": parents,
    "addParent_": add_parent,
    "removeParent_": remove_parent,
    "respondsTo_": responds_to,
    "nameAs_": name_as,
    "forgetName_": forget_name,
    "names": own_names,
    "now": now,
    "explain_": explain,
    MIRROR: mirror,
    "decline_": decline,
    **recollection.EVERYWHERE,
    **wherefore.EVERYWHERE,
}
PLLM: dict[str, Primitive] = {
    "infer_": infer,
    "routed_": routed,
    "fineTuneWith_": fine_tune_with,
    **PERSONAS,
    **PROMPTS,
    **revoking.AUTHORS,
}
MESSAGES: dict[str, Primitive] = {"beWritten_": be_written}
GENESIS: dict[str, Primitive] = {"objects": named_objects}

PRIMITIVES: dict[str, Primitive] = {**TRAITS, **PLLM, **MESSAGES, **GENESIS, **UPGRADES}
