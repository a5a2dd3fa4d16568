"""Any series of sends, removals, corrections and undos: image, journal, marks and chronicle agree with a model in plain Python."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.uvm.history.past import Past
from tests.uvm.images import awakened
from uvm.errors import ImageError
from uvm.image.image import Database
from uvm.image.message_object import is_method
from uvm.objects import ABSENT, Counter, UvmObject

SLOTS = ("a", "b", "hits")
NAMES = ("x", "y")
METHODS = {
    1: "def touch_(self, a):\n    self.a = a\n    self.hits.add(a)\n    self._p_changed = True\n    return 1\n",
    2: "def touch_(self, a):\n    self.b = a\n    return 2\n",
}
State = dict[tuple[str, str], Any]


class Message:
    """A message of the model: what each slot held before and after it, and whether it is in force."""

    def __init__(self, id: str, changes: dict[tuple[str, str], tuple[Any, Any]], undid: "Message | None") -> None:
        self.id = id
        self.changes = changes
        self.undid = undid
        self.in_force = True


class Histories(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.awake = awakened(Database(None))
        self.past = Past(self.awake.__enter__())
        for name in NAMES:
            entry = self.past.do("genesis_obj", "clone")
            self.past.do(entry, "nameAs_", name)
        self.past.image.manager.begin()
        for name in NAMES:
            self.past.image.target(name).put("hits", Counter())
        self.past.image.manager.commit()
        self.state: State = {(name, "hits"): 0 for name in NAMES}
        self.messages: list[Message] = []
        self.chronicled: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "awake"):
            self.awake.__exit__(None, None, None)

    # --- what the model knows of the image ---

    def expect(self, changes: State, undid: Message | None = None) -> None:
        """The newest message brought these about, and the newest entry of the journal says so."""
        before = dict(self.state)
        for key, value in changes.items():
            if value is ABSENT:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        shifts = {
            key: (before.get(key, ABSENT), self.state.get(key, ABSENT))
            for key in changes
            if before.get(key, ABSENT) is not self.state.get(key, ABSENT) and before.get(key, ABSENT) != self.state.get(key, ABSENT)
        }
        if shifts:
            entry = next(entry for entry in self.past.recent(limit=10) if entry["kind"] == "message")
            assert entry["seq"] == self.past.seq and {change["slot"] for change in entry["changes"]} == {slot for _, slot in shifts}
            self.messages.append(Message(entry["entry"], shifts, undid))
            for _, (was, is_now) in shifts.items():
                if "method" in (was_kind := kind_of(was), is_kind := kind_of(is_now)):
                    self.chronicled.append("removal" if is_now is ABSENT else "correction" if was_kind == is_kind else "install")

    # --- what happens ---

    @rule(name=st.sampled_from(NAMES), slot=st.sampled_from(SLOTS[:2]), value=st.integers(0, 2))
    def sets(self, name: str, slot: str, value: int) -> None:
        self.past.do(name, "setSlot_value_", slot, value)
        self.expect({(name, slot): value})

    @rule(name=st.sampled_from(NAMES), slot=st.sampled_from((*SLOTS[:2], "touch_")))
    def removes(self, name: str, slot: str) -> None:
        answer = self.past.ask(name, "removeSlot_", slot)
        assert isinstance(answer, ImageError) == ((name, slot) not in self.state)
        if (name, slot) in self.state:
            self.expect({(name, slot): ABSENT})

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(sorted(METHODS)))
    def corrects(self, name: str, version: int) -> None:
        """A method is installed by the kernel, which no journal has: the model takes it as what others did."""
        self.past.install(name, "touch_", METHODS[version], 1, policy=False)
        self.state[name, "touch_"] = ("method", self.method(name)._p_oid)

    @rule(name=st.sampled_from(NAMES), amount=st.integers(1, 3))
    def touches(self, name: str, amount: int) -> None:
        method = self.method(name)
        if method is None:
            return
        answer = self.past.do(name, "touch_", amount)
        if answer == 1:
            self.expect({(name, "a"): amount, (name, "hits"): self.state[name, "hits"] + amount})
        else:
            self.expect({(name, "b"): amount})

    @rule(choices=st.data())
    def undoes(self, choices: st.DataObject) -> None:
        if not self.messages:
            return
        message = choices.draw(st.sampled_from(self.messages[-12:]))
        answer = self.past.ask("genesis_obj", "undo_", message.id)
        values: State = {}
        possible = message.in_force and self.may_turn(message)
        for key, (was, is_now) in message.changes.items():
            if key[1] == "hits":
                values[key] = self.state[key] - (is_now - was)
            elif self.state.get(key, ABSENT) == is_now:
                values[key] = was
            else:
                possible = False
        assert isinstance(answer, ImageError) == (not possible), (answer, message.changes, self.state)
        if possible:
            self.turn(message)
            self.chronicled.append("undo")
            self.expect(values, message)

    def may_turn(self, message: Message) -> bool:
        """Whether what an undo had undone can be out of force once more: no other undo of it is in force by now."""
        undone = message.undid
        return undone is None or undone.undid is None or (undone.undid.in_force and self.may_turn(undone.undid))

    def turn(self, message: Message) -> None:
        """A message goes out of force, or comes into it; and what it had undone the other way."""
        message.in_force = not message.in_force
        if message.undid is not None:
            self.turn(message.undid)

    # --- what must hold ---

    @invariant()
    def image_agrees(self) -> None:
        if not hasattr(self, "state"):
            return
        for name in NAMES:
            for slot in (*SLOTS, "touch_"):
                assert as_modelled(self.past.slot(name, slot)) == self.state.get((name, slot), ABSENT), (name, slot)

    @invariant()
    def journal_and_marks_agree(self) -> None:
        if not hasattr(self, "messages"):
            return
        listed = {entry["entry"]: entry for entry in self.past.do("genesis_obj", "recent_", limit=200)["entries"]}
        for message in self.messages[-12:]:
            assert listed[message.id].get("undone", False) is not message.in_force

    @invariant()
    def chronicle_agrees(self) -> None:
        if hasattr(self, "chronicled"):
            kinds = [entry["kind"] for entry in self.past.recent(chronicle=True, limit=200)]
            assert sorted(kinds) == sorted(self.chronicled)

    def method(self, name: str) -> UvmObject | None:
        value = self.past.slot(name, "touch_")
        return value if is_method(value) else None


def as_modelled(value: Any) -> Any:
    """A stored value as the model has it."""
    if is_method(value):
        return ("method", value._p_oid)
    return value.total if isinstance(value, Counter) else value


def kind_of(value: Any) -> str:
    return value[0] if isinstance(value, tuple) else ""


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
