"""Any series of sends, corrections, removals, clones, revocations and restorations leaves lookup and library as a plain model says."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.uvm.houses import House, make_shop, offer
from tests.uvm.images import awakened
from uvm.errors import ImageError
from uvm.image import library, model_registry
from uvm.image.message_object import shape
from uvm.image.methods import runs
from uvm.language.audit import meaning
from uvm.objects import KIND, UvmObject

VALUES = (1, 2, 3, 4)
DIGEST = "c" * 64
MODEL = "0" * 64
OBJECTS = 5


def source(value):
    return f"def worth(self):\n    return {value}\n"


class Method:
    """A method object, as the model has it. `marked`: the revocation that keeps it may give it back."""

    def __init__(self, value, author, shared):
        self.value, self.author, self.shared = value, author, shared
        self.quarantined = self.marked = False

    @property
    def runs(self):
        return not self.quarantined


class Library(RuleBasedStateMachine):
    """Objects of one shape, and one selector."""

    trials = None

    @initialize()
    def awaken(self):
        self.opened = awakened()
        image = self.opened.__enter__()
        self.directory = tempfile.TemporaryDirectory()
        home = Path(self.directory.name)
        image.manager.begin()
        mind = image.named("pLLM_obj")
        mind.put("model", UvmObject({KIND: "model", "digest": MODEL, "blobs": {}, "name": "scripted"}))
        adapter = UvmObject({KIND: "adapter", "digest": DIGEST, "blobs": {}, "name": "covenant", "base": MODEL})
        model_registry.enter(image, "adapter", adapter)
        mind.put("adapter", adapter)
        image.manager.commit()
        for path in (home / "models" / MODEL, home / "adapters" / DIGEST):
            path.mkdir(parents=True)
        bodies = {"worth": [f"    return {value}" for value in VALUES]}
        self.house = House(image, self.trials, bodies, home, drafts=len(VALUES))
        self.objects = [make_shop(self.house) for _ in range(3)]
        self.slots = dict.fromkeys(range(3))
        self.known = False
        self.given = None
        self.withdrawn = set()
        self.revoked = False
        self.methods = []

    def teardown(self):
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)
            self.directory.cleanup()

    # --- the model ---

    def current(self):
        return self.given if self.given is not None and self.given.runs else None

    def made(self, value, author, shared):
        self.methods.append(Method(value, author, shared))
        return self.methods[-1]

    def publish(self, method):
        self.known, self.given, method.shared = True, method, True
        self.withdrawn.discard(method.value)

    def withdraw(self, value):
        if self.given is not None and self.given.value == value:
            self.given = None
        self.withdrawn.add(value)

    # --- what may happen ---

    @rule(number=st.integers(0, OBJECTS - 1))
    def send(self, number):
        number %= len(self.objects)
        held = self.slots[number]
        answer = self.house.send(self.objects[number], "worth")
        if held is None or not held.runs:
            held = self.current()
            if held is None:
                left = [value for value in VALUES if value not in self.withdrawn]
                if not left:
                    assert isinstance(answer, ImageError) and answer.type == "Refused"
                    return
                held = self.made(left[0], "model" if self.revoked else "adapter", True)
                self.publish(held)
            self.slots[number] = held
        assert answer == held.value

    @rule(number=st.integers(0, OBJECTS - 1), value=st.sampled_from(VALUES), here=st.booleans())
    def correct(self, number, value, here):
        number %= len(self.objects)
        held = self.slots[number]
        told = offer(self.house, self.objects[number], "worth", source(value), here=here)
        assert not isinstance(told, ImageError), told
        if held is not None and held.shared and not here:
            if held.value != value:
                self.withdraw(held.value)
            held.value, held.author, held.quarantined = value, "tool", False
            self.publish(held)
        else:
            self.slots[number] = self.made(value, "tool", False)
            if self.known and not here:
                self.publish(self.slots[number])

    @rule(number=st.integers(0, OBJECTS - 1))
    def remove(self, number):
        number %= len(self.objects)
        held = self.slots[number]
        if held is None:
            return
        self.house.send(self.objects[number], "removeSlot_", "worth")
        self.slots[number] = None
        if held.shared:
            self.withdraw(held.value)

    @rule(number=st.integers(0, OBJECTS - 1))
    def clone(self, number):
        if len(self.objects) < OBJECTS:
            number %= len(self.objects)
            self.slots[len(self.objects)] = self.slots[number]
            self.objects.append(self.house.send(self.objects[number], "clone"))

    @precondition(lambda self: not self.revoked)
    @rule()
    def revoke(self):
        answer = self.house.send("pLLM_obj", "revokeAuthor_", "adapter", DIGEST)
        assert not isinstance(answer, ImageError), answer
        self.revoked = True
        for method in self.methods:
            if method.author == "adapter" and method.runs:
                method.quarantined = method.marked = True

    @precondition(lambda self: self.revoked)
    @rule()
    def restore(self):
        answer = self.house.send("pLLM_obj", "restoreAuthor_", "adapter", DIGEST)
        assert not isinstance(answer, ImageError), answer
        self.revoked = False
        successor = self.current()
        for method in self.methods:
            if method.quarantined and method.marked:
                method.marked = False
                method.quarantined = successor is not None and successor is not method

    # --- what must hold ---

    @invariant()
    def agree(self):
        if not hasattr(self, "house"):
            return
        image = self.house.image

        def look():
            slots = [image.at(reference).own("worth") for reference in self.objects]
            key = shape(image.at(self.objects[0]), "worth", 0, [])
            given = library.current(image, key)
            values = [slot.own("source") if runs(slot) else None for slot in slots]
            identities = [id(slot) if isinstance(slot, UvmObject) else None for slot in slots]
            return values, identities, given and given.own("source"), set(library.withdrawn(image, key))

        values, identities, given, withdrawn = self.house.transactor.look(look)
        held = [self.slots[number] for number in range(len(self.objects))]
        assert values == [source(one.value) if one is not None and one.runs else None for one in held]
        current = self.current()
        assert given == (source(current.value) if current is not None else None)
        assert withdrawn == {meaning(source(value)) for value in self.withdrawn}
        for number, one in enumerate(held):
            same = [other for other in range(len(held)) if held[other] is one]
            assert len({identities[other] for other in same}) == 1, f"{number} shares its method object"


@pytest.mark.parametrize("examples", [20])
def test_any_series_leaves_lookup_and_library_as_a_plain_model_says(trials, examples):
    Library.trials = trials
    run_state_machine_as_test(
        Library,
        settings=settings(
            max_examples=examples, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )
