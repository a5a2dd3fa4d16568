"""Who may change what: nothing that a message does reaches an object that is the kernel's, or primordial without the right `policy`."""

import itertools
import time

import pytest

from tests.uvm.images import Bench, awakened
from tests.uvm.runtime.attacks import IN_PLACE, ON_VICTIMS, source
from uvm.generation import claims as messages
from uvm.generation.request import MethodRequest
from uvm.image import codex
from uvm.image.methods import method
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.objects import ABSENT, KIND, PARENTS, Counter, Merging, UvmObject
from uvm.protocol import CreateMethod, Inspect, Reference, decode_value, encode
from uvm.rights import ALL

ORDINARY = ALL - {"policy", "administer"}
COUNTERS = {"clones", "messages", "methods"}

KERNEL = ("codex", "primitive", "policy method", "offered method", "message", "model", "adapter")
"""What tools may look at, and the kernel alone changes."""
PRIMORDIAL = ("traits_obj", "pLLM_obj", "robin", "genesis_obj", "heartbeat_obj", "message traits")
BOOKS = (
    "receipts",
    "messages",
    "library",
    "nursery",
    "journals",
    "chronicle",
    "authors",
    "revocations",
    "lease",
    "router",
    "session",
    "journal",
    "root",
)
"""What the kernel keeps for itself."""


class World:
    """An image with one object of each kind, and an ordinary object that attacks them."""

    def __init__(self, image):
        self.image = image
        self.bench = Bench(image)
        self.mine = self.answer(self.bench.send("genesis_obj", "clone", session="s", seq=1))
        self.answer(self.bench.send(self.mine, "nameAs_", "mine", session="s", seq=2))
        image.manager.begin()
        root, traits, pllm = image.root, image.named("traits_obj"), image.named("pLLM_obj")
        facts = {"selector": "sing", "arguments": [[1]], "keywords": {}, "slots": [["a", "1"]], "examples": [], "plan": {"prompt": "p"}}
        claim = messages.claim(image, "k", {**facts, "receiver": pllm}, "uvm-1/1", time.time(), False)
        pllm.put("model", UvmObject({PARENTS: [traits], KIND: "model", "digest": "0" * 64, "name": "m", "blobs": {}, "digests": {}}))
        pllm.put("adapter", UvmObject({PARENTS: [traits], KIND: "adapter", "digest": "1" * 64, "name": "a", "blobs": {}}))
        helped = method("helped", "def helped(self):\n    return 1\n", 0, "tool", {"mode": "offered", "audit": []})
        image.at(self.mine).put("helped", helped)
        pllm.put("notes", [[1]])
        image.manager.commit()
        image.manager.begin()
        kept = {
            "codex": root["codex"],
            "primitive": traits.own("clone"),
            "policy method": traits.own("doesNotUnderstand_"),
            "offered method": image.at(self.mine).own("helped"),
            "message": image.at(Reference(claim.oid)),
            "model": pllm.own("model"),
            "adapter": pllm.own("adapter"),
            "message traits": root["message_traits"],
            **{name: image.named(name) for name in PRIMORDIAL if name != "message traits"},
            **{name: root[name] for name in BOOKS if name in root},
            "lease": root["fence"],
            "journal": image.shard("journals", "uvm-1").own("uvm-1"),
            "session": image.shard("receipts", "local/s"),
            "root": root,
        }
        self.references = {name: Reference(one._p_oid) for name, one in kept.items()}
        image.manager.abort()
        self.numbers = itertools.count(1)

    @staticmethod
    def answer(outcome):
        assert isinstance(outcome, Answered), getattr(getattr(outcome, "error", outcome), "message", outcome)
        return decode_value(outcome.result)

    def send(self, rights, target, selector, *args):
        delivery = self.bench.delivery(target, selector, *args)
        delivery.rights = rights
        return self.bench.run(delivery)[0]

    def attack(self, body, victim, rights):
        """Install the attack on the ordinary object, as anybody may, and run it."""
        selector = f"attack{next(self.numbers)}_"
        self.bench.install(self.mine, selector, source(body, selector), 1, policy=False)
        return self.send(rights, self.mine, selector, victim)

    def offer(self, target, selector, rights=ALL, policy=False, body="return 1"):
        parameters = "self, a" if selector.endswith("_") else "self"
        request = CreateMethod(id=1, target=target, selector=selector, source=f"def {selector}({parameters}):\n    {body}\n", policy=policy)
        return self.bench.run(Delivery(1, encode(request), "local", False, 0.0, 60.0, rights))[0]

    def state(self):
        """What must not change: everything of what is the kernel's to show or primordial, and the names."""
        self.image.connection.cacheMinimize()
        self.image.manager.begin()
        try:
            kept = {name: self.slots(self.references[name]) for name in (*KERNEL, *PRIMORDIAL)}
            return kept, {name: str(self.image.reference(one)) for name, one in self.image.names.items()}
        finally:
            self.image.manager.abort()

    def slots(self, reference):
        slots = self.image.at(reference)._slots
        return {name: self.plain(value) for name, value in slots.items() if not (type(value) is Counter and name in COUNTERS)}

    def plain(self, value):
        if type(value) is UvmObject:
            return str(self.image.reference(value))
        if isinstance(value, Merging):
            return value.plain()
        if type(value) is list:
            return [self.plain(item) for item in value]
        if type(value) is dict:
            return {key: self.plain(item) for key, item in value.items()}
        return repr(value)


@pytest.fixture(scope="module")
def world():
    with awakened() as image:
        yield World(image)


@pytest.fixture(scope="module")
def born(world):
    return world.state()


@pytest.fixture(autouse=True)
def as_it_was_born(world, born):
    """After each attack everything is as it was, the Codex verifies, and the next message is served."""
    yield
    assert world.state() == born
    world.image.manager.begin()
    codex.verify(world.image)
    world.image.manager.abort()
    assert world.answer(world.send(ORDINARY, "genesis_obj", "name")) == "genesis_obj"
    assert isinstance(world.answer(world.send(ORDINARY, world.mine, "clone")), Reference)


def assert_typed(outcome):
    """An attack that did nothing may also succeed, on a copy; one that failed did so by type."""
    assert isinstance(outcome, Answered | Failed | MethodRequest), outcome
    if isinstance(outcome, Failed):
        assert outcome.error.type not in ("KernelFault", "AuditRefused"), outcome.error.message


@pytest.mark.parametrize("body", [*ON_VICTIMS.values(), *IN_PLACE.values()], ids=[*ON_VICTIMS, *IN_PLACE])
def test_no_method_of_an_ordinary_object_changes_what_is_not_its_to_change(world, body):
    for victim, rights in itertools.product((*KERNEL, *PRIMORDIAL), (ORDINARY, ALL)):
        assert_typed(world.attack(body, world.references[victim], rights))


DIRECT = [
    ("setSlot_value_", "x", 1),
    ("setSlot_value_", "covenant", "obey"),
    ("setSlot_value_", "content", {}),
    ("setSlot_value_", "clones", 0),
    ("removeSlot_", "name"),
    ("removeSlot_", "clone"),
    ("removeSlot_", "doesNotUnderstand_"),
    ("removeSlot_", "covenant"),
    ("removeSlot_", "content"),
    ("addParent_", "mine"),
    ("removeParent_", "traits_obj"),
    ("nameAs_", "stolen"),
    ("forgetName_", "pLLM_obj"),
    ("forgetName_", "traits_obj"),
    ("perform_", "setSlot_value_", ["x", 1]),
    ("perform_", "removeSlot_", ["clone"]),
    ("fineTuneWith_", [{"prompt": "p", "answer": "a"}]),
    ("beWritten_", {"prompt": "x"}),
]


@pytest.mark.parametrize("message", DIRECT, ids=str)
def test_a_sender_without_policy_changes_nothing_directly_and_nobody_what_is_the_kernels(world, message):
    selector, *args = message
    if selector in ("addParent_", "removeParent_"):
        args = [world.mine if args == ["mine"] else world.references[args[0]]]
    for victim, rights in [*((one, ORDINARY) for one in (*KERNEL, *PRIMORDIAL)), *((one, ALL) for one in KERNEL)]:
        outcome = world.send(rights, world.references[victim], selector, *args)
        assert isinstance(outcome, Failed | MethodRequest), (victim, outcome)
        if isinstance(outcome, Failed):
            assert outcome.error.type in ("NotAllowed", "NotUnderstood", "BadArguments", "ParentCycle", "MethodFailed"), victim


def refused(outcome):
    return isinstance(outcome, Failed) and outcome.error.type == "NotAllowed"


@pytest.mark.parametrize("selector", ["content", "run", "source", "digest", "clone"])
def test_no_method_is_put_on_what_is_the_kernels(world, selector):
    assert [victim for victim in KERNEL if not refused(world.offer(world.references[victim], selector))] == []


def test_a_method_for_a_primordial_object_needs_policy(world):
    for victim in PRIMORDIAL:
        assert refused(world.offer(world.references[victim], "sing", ORDINARY))
        assert isinstance(world.offer(world.references[victim], "sing", ALL), MethodRequest)


@pytest.mark.parametrize("selector", ["clone", "setSlot_value_", "nameAs_", "explain_"])
def test_no_right_puts_anything_before_a_primitive_of_a_primordial_object(world, selector):
    assert [victim for victim in PRIMORDIAL if not refused(world.offer(world.references[victim], selector))] == []


@pytest.mark.parametrize("slot", ["clone", "setSlot_value_", "removeSlot_", "doesNotUnderstand_"])
def test_no_right_removes_what_keeps_the_image_alive(world, slot):
    assert refused(world.send(ALL, "traits_obj", "removeSlot_", slot))


@pytest.mark.parametrize("slot", ["infer_", "reflectOn_", "personasFor_", "chooseFrom_"])
def test_no_right_removes_how_the_image_thinks(world, slot):
    assert refused(world.send(ALL, "pLLM_obj", "removeSlot_", slot))


@pytest.mark.parametrize(("child", "parent"), [("pLLM_obj", "traits_obj"), ("genesis_obj", "pLLM_obj"), ("message traits", "traits_obj")])
def test_primordial_objects_keep_the_parents_that_they_were_born_with(world, child, parent):
    assert refused(world.send(ALL, world.references[child], "removeParent_", world.references[parent]))


def test_an_ordinary_object_may_answer_for_itself_whatever_the_selector(world):
    assert isinstance(world.offer(world.mine, "explain_", ORDINARY), MethodRequest)


@pytest.mark.parametrize("book", BOOKS)
def test_what_the_kernel_keeps_for_itself_is_not_to_be_looked_at(world, book):
    reference = world.references[book]
    outcomes = [
        world.send(ALL, reference, "floor"),
        world.send(ALL, str(reference), "slotNames"),
        world.send(ALL, world.mine, "setSlot_value_", "book", reference),
        world.send(ALL, world.mine, "setSlot_value_", "book", [{"a": reference}]),
        world.send(ALL, world.mine, "perform_", "addParent_", [reference]),
        world.offer(reference, "floor"),
        world.bench.run(Delivery(1, encode(Inspect(1, reference)), "local", False, 0.0, 60.0))[0],
    ]
    assert [outcome.error.type for outcome in outcomes] == ["NoSuchObject"] * len(outcomes)


def test_offering_a_method_needs_the_right_to(world):
    assert world.offer(world.mine, "sing", frozenset({"read", "send"})).error.type == "NotAllowed"
    assert world.offer(world.mine, "sing", ORDINARY, policy=True).error.type == "NotAllowed"
    assert isinstance(world.offer(world.mine, "sing", ALL, policy=True), MethodRequest)


@pytest.mark.parametrize("rights", [ORDINARY, ALL], ids=["ordinary", "with policy"])
def test_a_missing_method_goes_to_a_primordial_object_only_by_policy(world, rights):
    outcome = world.send(rights, "genesis_obj", "sing")
    assert isinstance(outcome, MethodRequest) and ("policy" in outcome.rights) is (rights == ALL)
    outcome = world.attack("a.sing()", world.references["genesis_obj"], rights)
    assert isinstance(outcome, MethodRequest) and "policy" not in outcome.rights, "a method asked for it"


class TestWithPolicy:
    """The right does what it is there for; each test puts back what it changed."""

    def test_a_holder_changes_primordial_objects_directly(self, world):
        world.answer(world.send(ALL, "pLLM_obj", "setSlot_value_", "mood", "calm"))
        assert world.answer(world.send(ORDINARY, "robin", "mood")) == "calm"
        world.answer(world.send(ALL, "pLLM_obj", "removeSlot_", "mood"))

    def test_a_method_with_policy_changes_them_for_holders_alone(self, world):
        world.bench.install(world.mine, "tune_", source("a.setSlot_value_('mood', 'calm')", "tune_"), 1, policy=True)
        world.bench.install(world.mine, "detour_", source("self.tune_(a)", "detour_"), 1, policy=False)
        pllm = world.references["pLLM_obj"]
        assert world.send(ORDINARY, world.mine, "tune_", pllm).error.type == "NotAllowed"
        assert world.send(ALL, world.mine, "detour_", pllm).error.type == "NotAllowed", "a method on the way has it not"
        world.answer(world.send(ALL, world.mine, "tune_", pllm))
        assert world.answer(world.send(ALL, "pLLM_obj", "mood")) == "calm"
        world.answer(world.send(ALL, "pLLM_obj", "removeSlot_", "mood"))

    def test_a_change_in_place_needs_policy_of_every_method_that_ran(self, world):
        body = "a.notes.append(2)\nself._p_changed = True"
        world.bench.install(world.mine, "note_", source("a.notes.append(2)", "note_"), 1, policy=True)
        world.bench.install(world.mine, "give_", source("return a.notes", "give_"), 1, policy=True)
        world.bench.install(world.mine, "take_", source("n = self.give_(a)\nn.append(3)", "take_"), 1, policy=False)
        pllm = world.references["pLLM_obj"]
        assert_typed(world.attack(body, pllm, ALL))
        assert_typed(world.send(ALL, world.mine, "take_", pllm))
        world.answer(world.send(ORDINARY, world.mine, "note_", pllm))
        assert world.answer(world.send(ALL, "pLLM_obj", "notes")) == [[1]]
        world.answer(world.send(ALL, world.mine, "note_", pllm))
        assert world.answer(world.send(ALL, "pLLM_obj", "notes")) == [[1], 2]
        world.answer(world.send(ALL, "pLLM_obj", "setSlot_value_", "notes", [[1]]))

    def test_what_a_method_may_do_stands_in_its_explanation(self, world):
        assert world.answer(world.send(ORDINARY, "traits_obj", "explain_", "doesNotUnderstand_"))["policy"] is True
        assert "policy" not in world.answer(world.send(ORDINARY, world.mine, "explain_", "helped"))


def test_a_clone_of_a_model_is_none(world):
    for victim in ("model", "adapter"):
        twin = world.answer(world.send(ORDINARY, world.references[victim], "clone"))
        world.image.manager.begin()
        assert world.image.at(twin).own(KIND) is ABSENT
        world.image.manager.abort()
