"""Any series of sends, corrections, removals, clones, revocations and restorations leaves lookup and library as a plain model says."""

import tempfile
from pathlib import Path
from typing import Any

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
from uvm.trial.client import TrialServer

VALUES = (1, 2, 3, 4)
DIGEST = "c" * 64
MODEL = "0" * 64
OBJECTS = 5


def source(value: int) -> str:
    return f"def worth(self):\n    return {value}\n"


class Method:
    """A method object, as the model has it. `marked`: the revocation that keeps it may give it back."""

    def __init__(self, value: int, author: str, shared: bool) -> None:
        self.value, self.author, self.shared = value, author, shared
        self.quarantined = self.marked = False

    @property
    def runs(self) -> bool:
        return not self.quarantined


class Library(RuleBasedStateMachine):
    """Objects of one shape, and one selector."""

    trials: TrialServer

    @initialize()
    def awaken(self) -> None:
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
        self.slots: dict[int, Method | None] = dict.fromkeys(range(3))
        self.in_library = False
        self.published: Method | None = None
        self.withdrawn: set[int] = set()
        self.revoked = False
        self.methods: list[Method] = []

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)
            self.directory.cleanup()

    # --- the model ---

    def current(self) -> Any:
        return self.published if self.published is not None and self.published.runs else None

    def install(self, value: Any, author: Any, shared: Any) -> Any:
        self.methods.append(Method(value, author, shared))
        return self.methods[-1]

    def publish(self, method: Any) -> None:
        self.in_library, self.published, method.shared = True, method, True
        self.withdrawn.discard(method.value)

    def withdraw(self, value: Any) -> None:
        if self.published is not None and self.published.value == value:
            self.published = None
        self.withdrawn.add(value)

    # --- what may happen ---

    @rule(number=st.integers(0, OBJECTS - 1))
    def send(self, number: int) -> None:
        number %= len(self.objects)
        method = self.slots[number]
        answer = self.house.send(self.objects[number], "worth")
        if method is None or not method.runs:
            method = self.current()
            if method is None:
                left = [value for value in VALUES if value not in self.withdrawn]
                if not left:
                    assert isinstance(answer, ImageError) and answer.type == "Refused"
                    return
                method = self.install(left[0], "model" if self.revoked else "adapter", True)
                self.publish(method)
            self.slots[number] = method
        assert answer == method.value

    @rule(number=st.integers(0, OBJECTS - 1), value=st.sampled_from(VALUES), here=st.booleans())
    def correct(self, number: int, value: Any, here: Any) -> None:
        number %= len(self.objects)
        method = self.slots[number]
        answer = offer(self.house, self.objects[number], "worth", source(value), here=here)
        assert not isinstance(answer, ImageError), answer
        if method is not None and method.shared and not here:
            if method.value != value:
                self.withdraw(method.value)
            method.value, method.author, method.quarantined = value, "tool", False
            self.publish(method)
        else:
            self.slots[number] = self.install(value, "tool", False)
            if self.in_library and not here:
                self.publish(self.slots[number])

    @rule(number=st.integers(0, OBJECTS - 1))
    def remove(self, number: int) -> None:
        number %= len(self.objects)
        method = self.slots[number]
        if method is None:
            return
        self.house.send(self.objects[number], "removeSlot_", "worth")
        self.slots[number] = None
        if method.shared:
            self.withdraw(method.value)

    @rule(number=st.integers(0, OBJECTS - 1))
    def clone(self, number: int) -> None:
        if len(self.objects) < OBJECTS:
            number %= len(self.objects)
            self.slots[len(self.objects)] = self.slots[number]
            self.objects.append(self.house.send(self.objects[number], "clone"))

    @precondition(lambda self: not self.revoked)
    @rule()
    def revoke(self) -> None:
        answer = self.house.send("pLLM_obj", "revokeAuthor_", "adapter", DIGEST)
        assert not isinstance(answer, ImageError), answer
        self.revoked = True
        for method in self.methods:
            if method.author == "adapter" and method.runs:
                method.quarantined = method.marked = True

    @precondition(lambda self: self.revoked)
    @rule()
    def restore(self) -> None:
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
    def agree(self) -> None:
        if not hasattr(self, "house"):
            return
        image = self.house.image

        def look() -> Any:
            slots = [image.at(reference).own("worth") for reference in self.objects]
            key = shape(image.at(self.objects[0]), "worth", 0, [])
            offered = library.current(image, key)
            values = [slot.own("source") if runs(slot) else None for slot in slots]
            identities = [id(slot) if isinstance(slot, UvmObject) else None for slot in slots]
            return values, identities, offered and offered.own("source"), set(library.withdrawn(image, key))

        values, identities, offered, withdrawn = self.house.transactor.look(look)
        methods = [self.slots[number] for number in range(len(self.objects))]
        assert values == [source(method.value) if method is not None and method.runs else None for method in methods]
        current = self.current()
        assert offered == (source(current.value) if current is not None else None)
        assert withdrawn == {meaning(source(value)) for value in self.withdrawn}
        for number, method in enumerate(methods):
            same = [twin for twin in range(len(methods)) if methods[twin] is method]
            assert len({identities[twin] for twin in same}) == 1, f"{number} shares its method object"


@pytest.mark.parametrize("examples", [20])
def test_any_series_leaves_lookup_and_library_as_a_plain_model_says(trials: TrialServer, examples: Any) -> None:
    Library.trials = trials
    run_state_machine_as_test(
        Library,
        settings=settings(
            max_examples=examples, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )
