"""A draft on perturbed copies: what the message does there tells drafts apart that do the same on the real values.

Runs in the trial child's only thread.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from uvm.errors import AttemptEnded, BadValue, ImageError
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.objects import ABSENT, KIND, Merging, UvmObject
from uvm.protocol import EXAMPLE_SLOTS, Reference
from uvm.runtime.attempt import Miss, Thought
from uvm.trial.effects import digest_of_made, effects_of, in_place_of
from uvm.trial.failures import explained
from uvm.trial.likeness import of_failure, of_run
from uvm.trial.protocol import Call, VariedRun, encode
from uvm.trial.runner import EMPTY, TrialRunner
from uvm.trial.variation import Variation
from uvm.values.crossing import from_wire, to_wire
from uvm.values.slot_values import copied

_VARIED_TICKS = 100_000
_VARIED_S = 1.0
"""Ticks of one run on a perturbed copy, and seconds of all of them: what is written for small things may meet large ones there."""
_STRANGE = (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, MemoryError)
"""What values that nobody has chosen may bring about below the method itself."""
_VARIED_SLOTS = 64
_NEIGHBOURS = 8
_WHOLE_BYTES = 4096
"""Bytes of a run that is told in full."""


def runs_of(runner: TrialRunner) -> list[VariedRun]:
    """The message on perturbed copies: one image for all of them, from which each run takes back what it did."""
    request, runs = runner.request, list[VariedRun]()
    if not request.varied or request.raises:
        return runs
    image, ticks_used = runner.prepare(EMPTY, request.receiver), runner.ticks_used
    began = time.monotonic() - runner.waited()
    for number in range(request.varied):
        image.manager.begin()
        try:
            left = _VARIED_S - (time.monotonic() - runner.waited() - began)
            runs.append(_run(runner, image, Variation(request.seed, number), left))
        finally:
            if runner.attempt is not None:
                runner.attempt.forget_changes()
            image.manager.abort()
    runner.ticks_used = ticks_used  # what is told is what the message itself uses
    return runs


def _run(runner: TrialRunner, image: Image, variation: Variation, seconds: float) -> VariedRun:
    """The message on one perturbed copy. What it raises, sends to nobody or asks the model tells drafts apart like what it answers."""
    request = runner.request
    if seconds <= 0:
        return VariedRun(digest=of_failure("late"), error="late")
    receiver = image.at(Reference(request.receiver))
    slots = _wired(image, variation.slots("", _plain_slots(receiver)))
    texts = [*slots, *(text for value in slots.values() for text in _texts(value))]
    args = [variation.value(f"({place})", value, texts) for place, value in enumerate(request.args)]
    kwargs = {name: variation.value(f"({name})", value, texts) for name, value in request.kwargs.items()}
    neighbours = _neighbours(runner, image, receiver, variation)
    perturbed = {receiver: slots}
    for neighbour in neighbours:
        perturbed[neighbour] = _wired(image, variation.slots(str(image.reference(neighbour)), _plain_slots(neighbour)))
    for owner, values in perturbed.items():
        for name, value in values.items():
            # Copies: rows that came from one are not to stay the same list or map.
            owner.put(name, in_place_of(owner.own(name), copied(from_wire(value, image.visible))))
    attempt = runner.begin(image, min(request.ticks, _VARIED_TICKS), seconds)
    try:
        result = runner.answer(image, runner.send(image, attempt, receiver, Call(copied(args), copied(kwargs))))
        attempt.unflagged()
        effects = effects_of(image, attempt, attempt.effects())
        made_digest = digest_of_made(image, attempt)
    except Miss as miss:
        needed = miss.reified.own("selector")
        return VariedRun(digest=of_failure("NotUnderstood", needed), error="NotUnderstood")
    except Thought as thought:
        return VariedRun(digest=of_failure("Thought", thought.prompt), error="Thought")
    except (AttemptEnded, ImageError, *_STRANGE) as error:
        kind = explained(error).type
        return VariedRun(digest=of_failure(kind), error=kind)
    run = VariedRun(digest=of_run(result, effects, len(attempt.created), made_digest))
    if neighbours or attempt.created:
        return run
    own = Reference(request.receiver)
    changed = {effect.slot: effect.after for effect in effects if effect.object == own}
    whole = replace(run, told=True, slots=slots, args=args, kwargs=kwargs, result=result, changed=changed)
    statable = all(value is not UNSET for value in changed.values()) and len(slots) <= EXAMPLE_SLOTS
    return whole if statable and len(encode(whole)) <= _WHOLE_BYTES else run


def _neighbours(runner: TrialRunner, image: Image, receiver: UvmObject, variation: Variation) -> list[UvmObject]:
    """Other objects whose slots are changed as well: what the receiver inherits from or refers to, and the message has looked at."""
    if not variation.widely:
        return []
    values = [value for name in receiver.names() if not is_method(value := receiver.own(name))]
    near = dict.fromkeys([*receiver.parents(), *(target for value in values for target in _objects(value))])
    met = [target for target in near if target is not receiver and runner.was_read(target)]
    return [target for target in met[:_NEIGHBOURS] if not image.is_primordial(target) and target.own(KIND) is ABSENT]


def _plain_slots(owner: UvmObject) -> dict[str, Any]:
    """The own data of an object, merging values as what they hold."""
    slots = {name: owner.own(name) for name in owner.names()[:_VARIED_SLOTS]}
    return {name: value.plain() if isinstance(value, Merging) else value for name, value in slots.items() if not is_method(value)}


def _wired(image: Image, slots: Mapping[str, Any]) -> dict[str, Any]:
    """Slots as wire values; one that cannot be carried stays as it is."""
    carried: dict[str, Any] = {}
    for name, value in slots.items():
        with suppress(BadValue):
            carried[name] = to_wire(value, image.reference)
    return carried


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Texts that a value holds: what an argument may name."""
    if isinstance(value, str):
        yield value
    elif depth < 3 and isinstance(value, list | dict):
        keys = [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []
        yield from keys[:_VARIED_SLOTS]
        for element in islice(value.values() if isinstance(value, dict) else value, _VARIED_SLOTS):
            yield from _texts(element, depth + 1)


def _objects(value: Any, depth: int = 0) -> Iterator[UvmObject]:
    """The objects that a slot refers to."""
    if isinstance(value, UvmObject):
        yield value
    elif depth < 3 and isinstance(value, list | dict):
        for element in islice(value.values() if isinstance(value, dict) else value, _VARIED_SLOTS):
            yield from _objects(element, depth + 1)
