"""What the audit accepts touches nothing but its receiver's reach: random programs on real objects, and all other objects compared."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.alone import flat
from tests.hostile.methods import SLOTS
from tests.uvm.images import Bench, awakened
from tests.uvm.language.sampler import Sampler
from uvm.errors import AttemptEnded, ImageError
from uvm.language.audit import audit
from uvm.language.compiler import Linker, compile_method
from uvm.language.grammar import COMMON_SELECTORS, grammar_for
from uvm.machine.delivery import Answered
from uvm.objects import PARENTS, UvmObject
from uvm.protocol import Reference, decode_value
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt

SELECTORS = [*COMMON_SELECTORS, "addParent_", "removeParent_", "perform_", "mirror_", "slot_", "nameAs_", "explain_", "grow", "rename_"]
METHODS = {
    "grow": "def grow(self):\n    self.tags.append('more')\n    self._p_changed = True\n    return self.friend\n",
    "rename_": "def rename_(self, name):\n    self.label_text = name\n    return self.friends\n",
}
_STATEMENTS = Sampler(
    grammar_for([*SLOTS, "friend", "friends"], SELECTORS, ["a"]), {"local": ["x", "y"], "name": ["a", "x"], "attribute": [*SLOTS]}, size=40
)
_OBJECTS = (
    *("self", "a", "x", "self.friend.friend", "self.friends[0]", "self.grow()", "self.clone()", "self.parents()[0]", "a.rename_('b')[0]"),
    *("self.parents()[0].parents()[0]", "self.parents()[0].parents()[0].parents()[0]", "self.parents()[0].parents()[0].parents()[1]"),
)
_MOVES = (
    *(
        "{0}.setSlot_value_('n', 9)",
        "{0}.tags.append({1})",
        "{0}.stock['y'] = 9",
        "{0}.n = 9",
        "{0}.addParent_({1})",
        "{0}.nested[0].clear()",
    ),
    *("{0}.removeSlot_('label_text')", "{0}.removeParent_({1})", "{0}.nameAs_('stranger')", "{0}.perform_('setSlot_value_', ['n', {1}])"),
    *(
        "{0}.mirror_('setSlot_value_', 'n', 9)",
        "self.n = {0}",
        "self.friends += [{1}]",
        "x = {0}",
        "x = {0}.slot_('friend')",
        "{0}.rename_('z')",
    ),
    *("for y in {0}.slotNames():\n            {0}.setSlot_value_(y, 0)", "for y in {0}.slotNames():\n            {0}.removeSlot_(y)"),
    *(
        "{0}.forgetName_('debtor')",
        "{0}.tags.clear()\n        self._p_changed = True",
        "{0}.setSlot_value_('friend', {1})",
        "del {0}.stock['x']",
    ),
)
"""What changes an object, and ways to one: half of a program's statements are made of them, the other half is the grammar's."""


class Town:
    """A receiver that knows two friends and has a pattern of its own for a parent; strangers who know it; the image's first objects.

    What the receiver leads to by references and parents, as far as anybody may change it, is its reach; `outside` is every other object.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.image = bench.image
        pattern, self.receiver, friend, far, stranger, debtor = (self._object() for _ in range(6))
        for target in (self.receiver, friend, far, stranger, debtor):
            self._send(target, "addParent_", pattern)
        self._send(self.receiver, "setSlot_value_", "friend", friend)
        self._send(self.receiver, "setSlot_value_", "friends", [friend])
        self._send(friend, "setSlot_value_", "friend", far)
        for name, target in (("stranger", stranger), ("debtor", debtor)):
            self._send(target, "nameAs_", name)
            self._send(target, "setSlot_value_", "friend", self.receiver)
        for selector, source in METHODS.items():
            bench.install(pattern, selector, source, positional=selector.count("_"), policy=False)
        bench.install(self.receiver, "m_", "def m_(self, a):\n    return a\n", positional=1, policy=False)
        self.friend = friend
        self.image.manager.begin()
        self.reach = {target._p_oid for target in _led_to([self.image.target(self.receiver)]) if self._may_change(target)}
        everything = _led_to([self.image.root["codex"], *self.image.root["names"].values()])
        self.outside = {target._p_oid: _picture(target) for target in everything if target._p_oid not in self.reach}
        self.image.manager.abort()

    def _object(self) -> Reference:
        reference = decode_value(self._send("genesis_obj", "clone"))
        for name, value in SLOTS.items():
            self._send(reference, "setSlot_value_", name, value)
        assert isinstance(reference, Reference)
        return reference

    def _send(self, target: Any, selector: str, *args: Any) -> bytes:
        outcome = self.bench.send(target, selector, *args)
        assert isinstance(outcome, Answered)
        return outcome.result

    def _may_change(self, target: UvmObject) -> bool:
        return "is*" not in target._slots and not self.image.is_primordial(target)

    def touched(self, run: Callable[..., Any]) -> tuple[list[str], bool]:
        """Run a function as the receiver's method: what it touched outside the reach, and whether it changed anything within."""
        self.image.manager.begin()
        attempt = Attempt(ticks=20_000, seconds=10.0, rights=frozenset({"read", "send"}))
        digest = self.image.target(self.receiver).own("m_").own("digest")
        self.bench.runtime._functions.put(digest, run, 1)
        try:
            self.bench.runtime.run(attempt, self.image.target(self.receiver), "m_", (self.image.target(self.friend),), {})
            gate.look(self.image, attempt)
            failed = False
        except (ImageError, AttemptEnded):
            failed = True  # all of it is rolled back; what was changed before that still has to be within reach
        try:
            made = attempt.created
            marked = [target for target in self.image.changed() if id(target) not in made and isinstance(target, UvmObject)]
            strange = [f"{target!r} is marked" for target in marked if target._p_oid not in self.reach]
            others = {oid: self.image.connection.get(oid) for oid in self.outside}
            strange += [f"{target!r} is another" for oid, target in others.items() if _picture(target) != self.outside[oid]]
            return strange, bool(attempt.effects()) and not failed
        finally:
            self.image.manager.abort()
            attempt.forget_changes()
            self.image.connection.cacheMinimize()

    def program(self, source: str) -> Callable[..., Any] | None:
        """The method's function, where the audit accepts its source."""
        verdict = audit(source, "m_", 1)
        return Linker(self.bench.runtime).link(compile_method(verdict.source, "m_")) if verdict.ok else None


def _picture(target: UvmObject) -> dict[str, Any]:
    return {name: flat(value) for name, value in target._slots.items()}


def _led_to(first: list[Any]) -> Iterator[UvmObject]:
    seen: set[bytes] = set()
    pending = [target for target in first if isinstance(target, UvmObject)]
    while pending:
        target = pending.pop()
        if target._p_oid in seen or target._p_oid is None:
            continue
        seen.add(target._p_oid)
        yield target
        values: list[Any] = list(target._slots.values())
        while values:
            value = values.pop()
            if isinstance(value, UvmObject):
                pending.append(value)
            elif isinstance(value, list | dict):
                values += value.values() if isinstance(value, dict) else value


def drawn(random: Random) -> str:
    """The source of a random program of the language."""
    statements = (
        random.choice(_MOVES).format(random.choice(_OBJECTS), random.choice(_OBJECTS))
        if random.random() < 0.5
        else _STATEMENTS.draw(random, "simple")
        for _ in range(random.randint(1, 8))
    )
    # Each fails by itself, so that what comes after it is tried too.
    tried = (f"    try:\n        {statement}\n    except Exception:\n        pass\n" for statement in statements)
    return f"def m_(self, a):\n    x = self\n    y = 1\n{''.join(tried)}"


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with awakened() as image:
        yield Town(Bench(image))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(seed=st.integers(0, 2**32))
def test_a_program_that_the_audit_accepts_touches_nothing_but_its_receivers_reach(town: Town, seed: int) -> None:
    source = drawn(Random(seed))
    function = town.program(source)
    if function is not None:
        assert town.touched(function)[0] == [], source


def test_such_programs_do_change_what_is_within_reach(town: Town) -> None:
    functions = [function for seed in range(120) if (function := town.program(drawn(Random(seed)))) is not None]
    assert len(functions) > 60
    assert sum(town.touched(function)[1] for function in functions) > 30


@pytest.mark.parametrize("name", ["stranger", "debtor", "traits_obj", "pLLM_obj"])
@pytest.mark.parametrize("flagged", [True, False])
def test_a_change_of_another_object_would_be_seen(town: Town, name: str, flagged: bool) -> None:
    def method(receiver: UvmObject, a: UvmObject) -> None:
        target = town.image.named(name)
        target._slots["label_text"] = "changed"
        if flagged:
            target._p_changed = True

    assert town.touched(method)[0] != []


def test_the_reach_is_the_receiver_its_friends_and_its_own_parent(town: Town) -> None:
    assert len(town.reach) == 4
    assert PARENTS in town.image.root["names"]["stranger"]._slots
