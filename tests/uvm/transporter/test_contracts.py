"""Methods with examples come in when they hold, all of them before the one commit, and none of the import does when one does not."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.uvm.images import awakened
from tests.uvm.transporter.world import World, changed, refused
from uvm import errors
from uvm.image import contract
from uvm.protocol import Bundle, Example, Import, MethodDocument, encode
from uvm.rights import Limits
from uvm.transporter import contracts
from uvm.transporter.contracts import ImportTest, ImportVerdict
from uvm.trial.protocol import NeededThought

TWICE = "def twice_(self, a):\n    return a * 2\n"
TOTAL = "def total(self):\n    return self.twice_(self.price)\n"


@pytest.fixture
def bundle() -> Iterator[Any]:
    """A shop with a price, a method with examples that sends another one of its own, and a clone that inherits them."""
    with awakened() as image:
        source_world = World(image)
        source_world.clone("genesis_obj", "shop", price=3)
        source_world.install("shop", "twice_", TWICE, 1, policy=False)
        source_world.install("shop", "total", TOTAL, policy=False)
        source_world.clone("shop", "stall", rent=4)
        keep(source_world, "shop", "total", Example(result=6), Example(result=10, slots={"price": 5}))
        yield source_world.bundle()


def keep(world: World, name: str, selector: str, *examples: Any) -> None:
    with world.changing():
        receiver = world.image.target(name)
        method = receiver.lookup(selector)
        contract.keep(method, [contract.clause(receiver, example) for example in examples], world.image.visible)


def with_source(bundle: Bundle, key: str, selector: str, source: str, **fields: Any) -> Any:
    document = next(document for document in map(msgspec.msgpack.decode, bundle.objects) if document["key"] == key)
    document = msgspec.convert(document["methods"], dict[str, MethodDocument])
    return changed(bundle, key, methods={**document, selector: msgspec.structs.replace(document[selector], source=source, **fields)})


def test_methods_are_held_against_their_examples_before_they_come_in(world: World, bundle: Bundle) -> None:
    before = world.stored()
    preview = world.take_in(bundle, preview=True)
    assert (preview["held"], preview["untested"]) == (1, 1)
    assert world.stored() == before
    answer = world.take_in(bundle)
    assert (answer["methods"], answer["held"], answer["untested"], answer["out_of_use"]) == (2, 1, 1, 0)
    assert {claim["selector"]: claim["examples"] for claim in answer["claims"]} == {"twice_": 0, "total": 2}
    assert world.do("shop", "total") == 6
    assert world.do("shop", "explain_", "total")["proof"]["trial"] == "2 examples held in this image"
    assert world.do("shop", "explain_", "twice_")["proof"]["trial"] == "not tried in this image"


def test_nothing_comes_in_where_one_does_not_hold_and_each_is_named(world: World, bundle: Bundle) -> None:
    wrong = with_source(bundle, "shop", "total", "def total(self):\n    return self.price\n")
    error = refused(world, wrong)
    assert isinstance(error, errors.ExampleFailed)
    (failed,) = error.details["failed"]
    assert (failed["object"], failed["selector"]) == ("shop", "total") and "gave 3, not 6" in failed["why"]
    assert "total of shop" in error.message
    assert isinstance(refused(world, wrong, preview=True), errors.ExampleFailed)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def total(self):\n    return self.nonsense(1)\n", "nonsense"),
        ("def total(self):\n    while True:\n        self.price = self.price + 0\n", "TicksSpent"),
    ],
)
def test_a_method_that_cannot_be_tried_to_its_end_does_not_hold(world: World, bundle: Bundle, source: str, why: str) -> None:
    world.limits = Limits(ticks=20_000)
    assert why in refused(world, with_source(bundle, "shop", "total", source)).details["failed"][0]["why"]


def test_what_breaks_a_method_that_another_one_needs_is_found(world: World, bundle: Bundle) -> None:
    error = refused(world, with_source(bundle, "shop", "twice_", "def twice_(self, a):\n    return a\n"))
    assert [failure["selector"] for failure in error.details["failed"]] == ["total"]


def test_an_example_that_was_given_for_an_heir_is_tried_on_it(world: World, bundle: Bundle) -> None:
    """`twice_` is the shop's; its example names a slot that the stall alone has."""
    document = with_source(bundle, "shop", "twice_", "def twice_(self, a):\n    return a + self.rent\n")
    documents = {document["key"]: document for document in map(msgspec.msgpack.decode, document.objects)}
    methods = msgspec.convert(documents["shop"]["methods"], dict[str, MethodDocument])
    record = {"next": 2, "kept": [{"number": 1, "args": [1], "result": 8, "slots": {"rent": 7}}]}
    methods = {"twice_": msgspec.structs.replace(methods["twice_"], examples=record)}
    for key in ("shop", "stall"):
        slots = {name: tree for name, tree in documents[key]["slots"].items() if name != "total"}
        document = changed(document, key, slots=slots, **({"methods": methods} if key == "shop" else {}))
    assert world.take_in(document)["held"] == 1
    assert world.do("stall", "twice_", 1) == 5


def test_an_example_that_refers_to_what_comes_in_with_it_is_tried_on_that(world: World, bundle: Bundle) -> None:
    """The item is only being made while its method is tried, and means the same in the example."""
    with awakened() as image:
        source_world = World(image)
        bolt = source_world.clone("genesis_obj", price=5)
        source_world.clone("genesis_obj", "shop", items=[bolt])
        source_world.install("shop", "dearest", "def dearest(self):\n    return self.items[0]\n", policy=False)
        keep(source_world, "shop", "dearest", Example(result=bolt))
        bundle = source_world.bundle()
    assert world.take_in(bundle)["held"] == 1
    assert world.do("shop", "dearest") == world.do("shop", "items")[0]
    wrong = with_source(bundle, "shop", "dearest", "def dearest(self):\n    return self\n")
    assert refused(world, wrong, rename={"shop": "other"}).details["failed"][0]["selector"] == "dearest"
    # Replaced as well: what the method here keeps and what comes in refer to the same objects.
    assert world.take_in(
        with_source(bundle, "shop", "dearest", "def dearest(self):\n    one = self.items[0]\n    return one\n"), replace=True
    )["held"]


@pytest.mark.parametrize("examples", ["text", {"kept": [1]}, {"next": 2, "kept": [{"number": 1, "result": 1, "nonsense": 2}]}])
def test_what_is_no_example_is_refused_and_not_passed_over(world: World, bundle: Bundle, examples: Any) -> None:
    document = with_source(bundle, "shop", "total", TOTAL, examples=examples)
    assert isinstance(refused(world, document), errors.BadExport)


def test_a_method_has_to_satisfy_what_the_one_that_it_replaces_had_to(world: World, bundle: Bundle) -> None:
    world.take_in(bundle)
    keep(world, "shop", "twice_", Example(result=8, args=[4]))
    worse = with_source(bundle, "shop", "twice_", "def twice_(self, a):\n    return 6 if a == 3 else 10\n")
    failed = refused(world, worse, replace=True).details["failed"]
    assert [failure["selector"] for failure in failed] == ["twice_"] and "kept example 1" in failed[0]["why"]
    # What the image has already is not tried again.
    assert world.take_in(world.bundle(), replace=True)["held"] == 0


def test_methods_are_tested_again_where_what_they_read_has_changed_meanwhile(
    world: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = World.test

    def tries(self: Any, test: Any, delivery: Any) -> Any:
        verdict = tried(self, test, delivery)
        if len(self.tested) == 1:
            self.do("traits_obj", "setSlot_value_", "something", 1)
        return verdict

    monkeypatch.setattr(World, "test", tries)
    source = "def total(self):\n    return self.twice_(self.price) + 0 * len(self.slotNames())\n"
    assert world.take_in(with_source(bundle, "shop", "total", source))["held"] == 1
    assert len(world.tested) == 2


def test_a_verdict_is_of_its_bundle_alone(world: World, bundle: Bundle) -> None:
    source_world = Bundle(bundle.image, bundle.tid, bundle.roots, bundle.objects[:1])
    assert contracts.digest_of(encode(bundle)) != contracts.digest_of(encode(source_world))
    with world.looking():
        verdict = ImportVerdict(contracts.digest_of(encode(bundle)), {})
        assert contracts.stands(world.image, verdict, contracts.digest_of(encode(bundle)))
        assert not contracts.stands(world.image, verdict, contracts.digest_of(encode(source_world)))
        assert not contracts.stands(world.image, None, contracts.digest_of(encode(bundle)))


def test_more_methods_with_examples_than_an_import_may_bring_are_refused(
    world: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "MOST", 0)
    assert isinstance(refused(world, bundle), errors.QuotaExceeded)


def test_what_a_method_asks_the_model_is_asked_first_and_all_other_trials_end(world: World, bundle: Bundle) -> None:
    """The machine asks, and the import is tested again with the answer."""
    with world.looking():
        mind = world.image.reference(world.image.named("pLLM_obj"))
    asking = "def twice_(self, a):\n    return self.mind.infer_('what is it?')\n"
    record = {"next": 2, "kept": [{"number": 1, "args": [1], "result": "six"}]}
    slots = {"twice_": {"method": ["shop", "twice_"]}, "mind": {"ref": "pLLM_obj"}}
    methods = {"twice_": MethodDocument(selector="twice_", source=asking, positional=1, examples=record)}
    document = changed(changed(bundle, "shop", slots=slots, methods=methods), "stall", slots={"price": 3})
    delivery = world.delivery("shop", "total")
    delivery.request = Import(id=1, bundle=encode(document))
    (outcome,) = world.run(delivery)
    assert isinstance(outcome, ImportTest)
    thought = world.test(outcome, delivery)
    assert isinstance(thought, NeededThought) and thought.persona == mind and thought.prompt == "what is it?"
    assert world.tests is not None and not len(world.tests)
    delivery.thoughts[thought.key] = "six"
    assert isinstance(world.test(outcome, delivery), ImportVerdict)
    delivery.thoughts[thought.key] = "seven"
    assert isinstance(world.test(outcome, delivery), errors.ExampleFailed)


def test_an_import_whose_time_is_over_ends(world: World, bundle: Bundle) -> None:
    world.take_in(bundle)
    (test,) = world.tested
    late = world.delivery("shop", "total")
    late.deadline = 0.0
    assert isinstance(world.test(test, late), errors.DeadlineExceeded)
