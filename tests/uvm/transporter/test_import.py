"""What an import lets in, and what it does not: all of it or nothing, by name, within rights and quotas."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from deploy.settings import UvmSettings
from tests.uvm.images import awakened
from tests.uvm.transporter.world import World, changed, refused
from uvm import errors
from uvm.history.listing import page
from uvm.image import contract, library, nursery, revocations
from uvm.image.authors import Author
from uvm.image.large import stored
from uvm.image.message_object import shape
from uvm.image.methods import quarantine
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.objects import CHARGED, KIND, Counter, MergingVector, UvmObject
from uvm.protocol import Bundle, Example, Export, Import, MethodDocument, ObjectDocument, Reference, Upload, decode_value, encode
from uvm.rights import ALL, Limits
from uvm.transporter.methods import examples_of
from uvm.trial.client import TrialServer

TWICE = "def twice_(self, a):\n    return a * 2\n"


@pytest.fixture
def origin() -> Iterator[Any]:
    """A second image, with a shop in it that has an item and a method."""
    with awakened() as image:
        world = World(image)
        article = world.clone("genesis_obj")
        shop = world.clone("genesis_obj", "shop", items=[article])
        world.do(article, "setSlot_value_", "owner", shop)
        world.install("shop", "twice_", TWICE, 1, policy=False)
        yield world


def simple(key: str = "shop", parents: Any = ({"ref": "traits_obj"},), **fields: Any) -> Any:
    return ObjectDocument(key=key, **{"names": [key] if key[0] != "@" else [], "parents": list(parents), **fields})


def bundle_of(*documents: Any, image: Any = "elsewhere", roots: Any = ()) -> Any:
    return Bundle(image, bytes(8), list(roots), [encode(document) for document in documents])


def test_a_taken_name_is_refused_renamed_or_replaced(world: World, origin: World) -> None:
    bundle = origin.bundle()
    world.take_in(bundle)
    assert refused(world, bundle).details == {"names": ["shop"]}
    world.take_in(bundle, rename={"shop": "second"})
    assert world.do("second", "twice_", 4) == 8
    shop = world.image.target("shop")._p_oid
    world.do("shop", "setSlot_value_", "more", 1)
    answer = world.take_in(bundle, replace=True)
    assert answer["replaced"] == {"shop": ["more", "items"]}
    assert world.image.target("shop")._p_oid == shop
    assert isinstance(refused(world, bundle, rename={"nobody": "x"}), errors.BadArguments)
    assert isinstance(refused(world, bundle, rename={"shop": "@2a"}), errors.NotAllowed)


def test_what_is_exported_twice_replaces_itself_part_by_part(origin: World) -> None:
    """An item without a name is the same object after it, since it is a part of the shop that is replaced."""
    bundle = origin.bundle()
    (article,) = origin.do("shop", "items")
    origin.do(article, "setSlot_value_", "price", 3)
    answer = origin.take_in(bundle, replace=True)
    assert answer["new"] == 0 and answer["replaced"] == {"shop": [], str(article): ["price"]}
    assert origin.do("shop", "items") == [article]
    # One that is no part of it any more is no longer that: its reference may mean something else by now.
    origin.do("shop", "setSlot_value_", "items", [])
    assert origin.take_in(bundle, replace=True)["new"] == 1 and origin.do("shop", "items") != [article]


def test_every_missing_reference_is_told_by_name_and_nothing_is_half_imported(world: World) -> None:
    bundle = bundle_of(
        simple(slots={"a": {"ref": "supplier"}, "b": [{"ref": "@2a"}], "c": {"method": ["shop", "gone"]}, "d": {"adapter": "ab" * 32}}),
        simple("yard", slots={"a": {"ref": "supplier"}, "b": {"blob": "cd" * 32}, "c": {"message": "@1"}}, parents=[{"ref": "nobody"}]),
    )
    error = refused(world, bundle)
    assert isinstance(error, errors.MissingReference)
    assert {missing["reference"]: missing["from"] for missing in error.details["missing"]} == {
        "ref supplier": ["shop", "yard"],
        "ref @2a": ["shop"],
        "method shop.gone": ["shop"],
        f"adapter {'ab' * 32}": ["shop"],
        f"blob {'cd' * 32}": ["yard"],
        "message @1": ["yard"],
        "ref nobody": ["yard"],
    }
    assert "supplier (from shop, yard)" in error.message


def test_a_reference_to_what_was_not_exported_is_found_by_its_name(world: World) -> None:
    supplier = world.clone("genesis_obj", "supplier")
    world.take_in(bundle_of(simple(slots={"from": {"ref": "supplier"}})))
    assert world.do("shop", "from") == supplier


def test_a_preview_says_what_would_be_done_and_does_nothing(world: World, origin: World) -> None:
    before = world.stored()
    answer = world.take_in(origin.bundle(), preview=True)
    assert (answer["preview"], answer["new"], answer["names"]) == (True, 2, ["shop"])
    claim = {"on": "shop", "selector": "twice_", "author": "test", "policy": False, "findings": [], "kept": False, "examples": 0}
    assert answer["claims"] == [claim]
    assert world.stored() == before


def test_what_a_document_says_of_a_method_stays_a_claim(world: World, origin: World) -> None:
    forged = MethodDocument(
        selector="twice_",
        source=TWICE,
        positional=1,
        author="robin",
        born="1970-01-01T00:00:00Z",
        proof={"mode": "drafted", "trial": "passed"},
    )
    world.take_in(changed(origin.bundle(), "shop", methods={"twice_": forged}))
    explained = world.do("shop", "explain_", "twice_")
    assert explained["author"] == "import" and explained["born"] > "2000"
    proof = explained["proof"]
    assert proof["mode"] == "imported" and proof["trial"] == "not tried in this image"
    assert proof["claimed"] == {"author": "robin", "born": "1970-01-01T00:00:00Z", "proof": {"mode": "drafted", "trial": "passed"}}
    (hop,) = proof["imports"]
    assert hop["by"] == "local" and hop["image"] == origin.bundle().image
    # Removing it teaches the router nothing: no persona of this image has written it.
    outcome = world.send("shop", "removeSlot_", "twice_")
    assert isinstance(outcome, Answered) and outcome.taken_back == []


def test_what_the_library_gives_others_is_not_for_a_file_to_say(world: World, origin: World) -> None:
    """A shared method that an import replaces on one object is the others' as before, and what came in is given to nobody."""
    world.take_in(origin.bundle())
    world.install("shop", "twice_", TWICE, 1, policy=False)
    with world.changing():
        shop = world.image.target("shop")
        shared = shop.own("twice_")
        library.publish(world.image, key := shape(shop, "twice_", 1, []), shared)
    edited = MethodDocument(selector="twice_", source="def twice_(self, a):\n    return a + a\n", positional=1)
    world.take_in(changed(origin.bundle(), "shop", methods={"twice_": edited}), replace=True)
    with world.looking():
        assert world.image.target("shop").own("twice_").own("source") == edited.source
        assert library.current(world.image, key) is shared


def test_what_a_method_had_to_satisfy_stays_with_the_one_that_takes_its_place(world: World, origin: World, trials: TrialServer) -> None:
    world.take_in(origin.bundle())
    with world.changing():
        shop = world.image.target("shop")
        contract.keep(shop.own("twice_"), [contract.clause(shop, Example(result=8, args=[4]))], world.image.visible)
    edited = MethodDocument(selector="twice_", source="def twice_(self, a):\n    return a + a\n", positional=1)
    world.take_in(changed(origin.bundle(), "shop", methods={"twice_": edited}), replace=True)
    with world.looking():
        (clause,) = contract.clauses_of(world.image.target("shop").own("twice_"))
        assert (clause.example.result, clause.example.args) == (8, [4])
    with awakened() as image:
        third = World(image, trials=trials)
        third.take_in(world.bundle())
        image.manager.begin()
        assert contract.clauses_of(image.named("shop").own("twice_"))[0].example == clause.example


def test_who_is_revoked_brings_in_no_methods_and_what_was_brought_in_is_revoked_with_them(world: World, origin: World) -> None:
    world.principal = "mallory"
    world.take_in(origin.bundle())
    world.principal = "local"
    world.do("pLLM_obj", "revokeAuthor_", "principal", "mallory")
    assert world.image.target("shop").own("twice_").own("quarantined").startswith("revoked")
    world.principal = "mallory"
    assert isinstance(refused(world, origin.bundle(), rename={"shop": "second"}), errors.Revoked)
    world.principal = "local"
    world.do("pLLM_obj", "restoreAuthor_", "principal", "mallory")
    assert world.do("shop", "twice_", 4) == 8


def test_a_method_that_says_it_is_by_a_revoked_adapter_comes_in_out_of_use(world: World, origin: World) -> None:
    with world.changing():
        revocations.revoke(world.image, Author("adapter", "ab" * 32), [], "it was wrong", "local")
    method = MethodDocument(selector="twice_", source=TWICE, positional=1, proof={"mode": "drafted", "adapter": f"covenant@{'ab' * 32}"})
    (claim,) = world.take_in(changed(origin.bundle(), "shop", methods={"twice_": method}))["claims"]
    assert "was revoked" in claim["findings"][0]
    assert world.image.target("shop").own("twice_").own("revoked")["author"] == f"adapter:{'ab' * 32}"


def test_the_way_of_a_method_through_images_is_kept_and_bounded(origin: World) -> None:
    with awakened() as second, awakened() as third:
        middle, last = World(second), World(third)
        middle.take_in(origin.bundle())
        last.take_in(middle.bundle())
        proof = last.do("shop", "explain_", "twice_")["proof"]
        assert [hop["image"] for hop in proof["imports"]] == [origin.bundle().image, middle.bundle().image]
        assert proof["claimed"]["author"] == "test"


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("def twice_(self, a):\n    import os\n    return a\n", "import"),
        ("def twice_(self, a):\n    return a.__class__\n", "__class__"),
        ("def thrice_(self, a):\n    return a\n", "twice_"),
        ("not python", "line 1"),
    ],
)
def test_a_method_passes_the_audit_or_nothing_comes_in(world: World, origin: World, source: str, word: str) -> None:
    method = MethodDocument(selector="twice_", source=source, positional=1)
    error = refused(world, changed(origin.bundle(), "shop", methods={"twice_": method}))
    assert isinstance(error, errors.AuditRefused)
    assert [(refusal["object"], refusal["selector"]) for refusal in error.details["refused"]] == [("shop", "twice_")]
    assert word in str(error.details["refused"])


def test_a_method_that_may_change_policy_comes_in_with_that_right_alone(world: World, origin: World) -> None:
    method = MethodDocument(selector="twice_", source=TWICE, positional=1, policy=True)
    bundle = changed(origin.bundle(), "shop", methods={"twice_": method})
    world.rights = ALL - {"policy"}
    assert isinstance(refused(world, bundle), errors.NotAllowed)
    world.rights = ALL
    world.take_in(bundle)
    assert world.image.target("shop").own("twice_").own("policy") is True


def test_examples_and_a_quarantine_come_along_and_bind_here_too(world: World, origin: World) -> None:
    with origin.changing():
        method = origin.image.target("shop").own("twice_")
        record = {"next": 2, "kept": [{"number": 1, "args": [2], "result": 4, "slots": {"of": origin.image.target("shop")}}]}
        method.put("examples", stored(record))
        quarantine(method, "its author is not trusted")
    (_, document) = origin.export()[1], {document.key: document for document in origin.export()[1]}["shop"]
    assert document.methods["twice_"].quarantined == "its author is not trusted"
    world.take_in(origin.bundle())
    shop = world.image.target("shop")
    assert examples_of(shop.own("twice_"))["kept"][0]["slots"]["of"] is shop
    with pytest.raises(errors.MethodQuarantined):
        world.do("shop", "twice_", 4)
    # Where the image has the method in use, a file that says otherwise is another method.
    assert not any(
        claim["kept"]
        for claim in world.take_in(
            changed(origin.bundle(), "shop", methods={"twice_": MethodDocument(selector="twice_", source=TWICE, positional=1)}),
            replace=True,
        )["claims"]
    )
    assert world.do("shop", "twice_", 4) == 8


@pytest.mark.parametrize(
    "document",
    [
        simple("genesis_obj"),
        simple("_hidden"),
        simple("new\nline"),
        simple(parents=[{"message": "@1"}]),
        simple(slots={"is*": "method"}),
        simple(slots={"parent*": []}),
        simple(slots={"_p_oid": 1}),
        simple(slots={"clone_": {"primordial": ["traits_obj", "clone"]}}),
        simple(slots={"a": {"vector": {"length": 10**9, "numbers": {}}}}),
        simple(slots={"a": {"ref": 7}}),
        simple(slots={"a": {"integer": str(2**64)}}),
        simple(slots={"a": {"map": [[None, 1]]}}),
        simple(parents=[7]),
        simple(slots={"mirror_": 1}),
        simple(
            slots={"mirror_": {"method": ["shop", "mirror_"]}},
            methods={"mirror_": MethodDocument(selector="mirror_", source="def mirror_(self, a):\n    return a\n", positional=1)},
        ),
        simple(methods={"twice_": MethodDocument(selector="twice_", source=TWICE, positional=9)}),
    ],
    ids=lambda document: str(msgspec.to_builtins(document))[:90],
)
def test_what_no_export_has_is_refused(world: World, document: Any) -> None:
    error = refused(world, bundle_of(document))
    assert isinstance(error, errors.BadExport | errors.NotAllowed | errors.BadValue | errors.MissingReference), error


def test_two_objects_of_one_name_and_one_twice_are_refused(world: World) -> None:
    assert isinstance(refused(world, bundle_of(simple(), simple())), errors.BadExport)
    assert isinstance(refused(world, bundle_of(simple(), simple("yard", names=["shop"]))), errors.BadExport)


def test_parents_in_a_circle_are_refused_within_an_export_and_through_the_image(world: World) -> None:
    circle = bundle_of(simple("a", parents=[{"ref": "b"}]), simple("b", parents=[{"ref": "a"}]))
    assert isinstance(refused(world, circle), errors.ParentCycle)
    world.take_in(bundle_of(simple("a"), simple("b", parents=[{"ref": "a"}])))
    assert isinstance(refused(world, bundle_of(simple("a", parents=[{"ref": "b"}])), replace=True), errors.ParentCycle)
    chain = [simple(f"n{number}", parents=[{"ref": f"n{number + 1}"}]) for number in range(300)]
    assert isinstance(refused(world, bundle_of(*chain, simple("n300"))), errors.NotAllowed)


@pytest.mark.parametrize("encoded", [b"", b"\xc1", encode(simple()), b"\x80", encode(Bundle("x", b"", [], [b"\x80"])), b"\xff" * 1000])
def test_bytes_that_are_no_bundle_are_refused(world: World, encoded: Any) -> None:
    with pytest.raises((errors.BadExport, errors.BadArguments)):
        world.answer(Import(id=1, bundle=encoded))


def test_what_nothing_refers_to_is_left_out_and_said(world: World) -> None:
    answer = world.take_in(bundle_of(simple(), simple("@99", slots={"a": {"ref": "shop"}})))
    assert answer["left_out"] == ["@99"] and answer["objects"] == 1


def test_an_object_without_a_name_that_was_asked_for_is_kept_for_the_tool(world: World, origin: World) -> None:
    (article,) = origin.do("shop", "items")
    origin.do(article, "removeSlot_", "owner")
    answer = world.take_in(origin.bundle(article))
    (root,) = answer["roots"]
    assert world.do(root, "slotNames")
    with world.looking():
        assert world.image.shard("nursery", root.oid.hex()).own(root.oid.hex())[0] is world.image.at(root)


def test_a_message_object_is_found_again_in_its_own_image_alone(world: World, origin: World) -> None:
    with origin.changing():
        message = UvmObject({KIND: "message", "selector": "x"})
        origin.image.enter("messages", "test", message)
        origin.image.target("shop").put("last", message)
    bundle = origin.bundle()
    assert isinstance(refused(world, bundle), errors.MissingReference)
    origin.take_in(bundle, rename={"shop": "second"})
    assert origin.image.target("second").own("last") is message


def test_the_image_stays_out_of_an_export(world: World) -> None:
    for target in ("genesis_obj", "robin", "pLLM_obj"):
        with pytest.raises(errors.BadValue):
            world.export(target)
    with pytest.raises(errors.NoSuchObject):
        world.export("nobody")
    assert world.export()[1] == []


def test_a_clone_of_the_images_own_refers_to_its_methods(world: World) -> None:
    """A persona of one's own has the primitives and the policy of every persona, and not a copy of them."""
    world.clone("pLLM_obj", "dana")
    _, (dana,) = world.export()
    assert dana.methods == {} and dana.slots["infer_"] == {"primordial": ["pLLM_obj", "infer_"]}
    world.take_in(world.bundle(), rename={"dana": "erin"})
    assert world.image.target("erin").own("reflectOn_") is world.image.named("pLLM_obj").own("reflectOn_")


def test_a_snapshot_is_one_transaction_whatever_happens_meanwhile(origin: World) -> None:
    first = origin.answer(Export(1, ["shop"]))
    origin.do("shop", "setSlot_value_", "price", 9)
    again = origin.answer(Export(1, ["shop"], tid=first.tid))
    assert again.data == first.data and origin.answer(Export(1, ["shop"])).data != first.data
    with pytest.raises(errors.BadArguments):
        origin.answer(Export(1, ["shop"], tid=b"\xff" * 8))
    with pytest.raises(errors.BadArguments):
        origin.answer(Export(1, ["shop"], tid=first.tid, number=0, offset=10**9))


def test_an_export_in_small_parts_is_the_same(origin: World) -> None:
    from uvm.machine.batch import Batch

    origin.do("shop", "setSlot_value_", "long", "x" * 50_000)
    whole = origin.export()[1]
    origin.batch = Batch(origin.image, origin.runtime, UvmSettings(), "uvm-2", frame=9000)
    assert origin.answer(Export(1)).offset > 0
    assert origin.export()[1] == whole


# --- bounds --------------------------------------------------------------------------------------------------------


def test_an_import_is_within_what_a_message_may_store(world: World) -> None:
    many = bundle_of(*(simple(f"n{number}") for number in range(30)))
    world.limits = Limits(objects=20)
    assert isinstance(refused(world, many), errors.QuotaExceeded)
    world.limits = Limits(bytes=10_000)
    assert isinstance(refused(world, bundle_of(simple(slots={"a": "x" * 20_000}))), errors.QuotaExceeded)


def test_what_comes_in_is_charged_and_what_was_uploaded_is_given_back(world: World) -> None:
    world.limits = Limits(stored=100_000)
    encoded = encode(bundle_of(simple(slots={"a": "x" * 20_000})))
    upload = world.upload(encoded, piece=4096)
    assert bytes_held(world) == len(encoded)
    world.answer(Import(id=1, upload=upload))
    charged = world.image.target("shop").own(CHARGED)["local"]
    assert bytes_held(world) == charged and 20_000 < charged < 20_500
    world.limits = Limits(stored=30_000)
    with pytest.raises(errors.QuotaExceeded):
        world.upload(encode(bundle_of(simple("yard", slots={"a": "x" * 20_000}))))


def bytes_held(world: World) -> Any:
    from uvm.image.stored import bytes_held

    with world.looking():
        return bytes_held(world.image, "local")


def test_an_upload_is_in_order_bounded_and_its_owners(world: World) -> None:
    upload = world.answer(Upload(id=1, data=b"abc"))
    with pytest.raises(errors.BadArguments):
        world.answer(Upload(id=1, data=b"abc", upload=upload, offset=2))
    with pytest.raises(errors.NoSuchObject):
        world.answer(Upload(id=1, data=b"abc", upload=Reference.parse("@1"), offset=0))
    world.limits = Limits(bytes=10)
    with pytest.raises(errors.QuotaExceeded):
        world.answer(Upload(id=1, data=b"x" * 50, upload=upload, offset=3))
    world.limits = Limits()
    world.principal = "mallory"
    with pytest.raises(errors.NoSuchObject):
        world.answer(Upload(id=1, data=b"d", upload=upload, offset=3))
    with pytest.raises(errors.NoSuchObject):
        world.answer(Import(id=1, upload=upload))
    world.principal = "local"
    with pytest.raises(errors.NoSuchObject):  # nor can anybody look at it
        world.do(upload, "slotNames")
    with pytest.raises(errors.BadExport):
        world.answer(Import(id=1, upload=upload))


def test_an_upload_that_nobody_imports_is_forgotten(world: World) -> None:
    world.answer(Upload(id=1, data=b"abc"))
    with world.looking():
        now = world.image.root["fence"].own("time", 0) or __import__("time").time()
        assert nursery.expire(world.image, int(now) + 80_000) == 0
        assert nursery.expire(world.image, int(now) + 90_000) == 1


def test_an_import_is_carried_out_once_however_often_it_arrives(world: World, origin: World) -> None:
    request = Import(id=1, bundle=encode(origin.bundle()), session="s", seq=1)
    first = world.ask(request)
    again = world.ask(request)
    assert isinstance(first, Answered) and isinstance(again, Answered)
    assert again.replayed_tid is not None and decode_value(again.result) == decode_value(first.result)


def test_an_import_is_in_the_chronicle_with_its_author_and_where_it_came_from(world: World, origin: World) -> None:
    bundle = origin.bundle()
    world.take_in(bundle)
    with world.looking():
        (entry,) = [entry for entry in page(world.image, lambda units: None, chronicle=True)["entries"] if entry["kind"] == "import"]
    assert entry["author"] == "local" and entry["cause"].endswith("/1")
    assert entry["facts"] == {"image": bundle.image, "tid": bundle.tid.hex(), "objects": 2, "methods": 1, "names": ["shop"]}


def test_an_undo_lets_go_of_what_an_import_has_made(world: World, origin: World) -> None:
    assert isinstance(world.ask(Import(id=1, bundle=encode(origin.bundle()), session="import", seq=1)), Answered)
    world.do("genesis_obj", "undo_", "import/1")
    assert world.picture() == {}
    world.take_in(origin.bundle())
    assert world.picture() == origin.picture()


def test_what_an_import_replaced_can_be_undone_like_any_message(world: World, origin: World) -> None:
    with origin.changing():
        vector = MergingVector(8)
        vector.add({3: 5})
        origin.image.target("shop").put("counted", vector)
    world.take_in(origin.bundle())
    world.do("shop", "setSlot_value_", "price", 1)
    world.do("shop", "removeSlot_", "counted")
    before = world.picture()
    request = Import(id=1, bundle=encode(origin.bundle()), replace=True, session="import", seq=1)
    assert isinstance(world.ask(request), Answered) and world.picture() != before
    world.do("genesis_obj", "undo_", "import/1")
    assert world.do("shop", "price") == 1 and "counted" not in world.do("shop", "slotNames")


def test_followers_see_what_came_in(world: World, origin: World) -> None:
    outcome = world.ask(Import(id=1, bundle=encode(origin.bundle())))
    assert isinstance(outcome, Answered)
    whole = [change for change in outcome.changes if change.whole]
    assert sorted(names for change in whole for names in change.names) == ["shop"] and len(whole) == 2


def test_two_images_are_told_apart_and_one_is_itself(world: World, origin: World) -> None:
    assert world.export()[0].image != origin.export()[0].image
    before = origin.export()[0].image
    origin.do("shop", "setSlot_value_", "a", 1)
    assert origin.export()[0].image == before


def test_merging_values_arrive_as_such(world: World, origin: World) -> None:
    with origin.changing():
        origin.image.target("shop").put("sold", Counter(7))
    world.take_in(origin.bundle())
    sold = world.image.target("shop").own("sold")
    assert type(sold) is Counter and sold.plain() == 7


def test_rights_are_those_of_the_sender(world: World, origin: World) -> None:
    from uvm.bridge.tools import needed

    assert needed(Import) == needed(Upload) == (True, "create") and needed(Export) == (True, "read")
    assert isinstance(world.ask(Import(id=1)), Failed)
    world.rights = ALL - {"send"}
    assert isinstance(refused(world, origin.bundle()), errors.NotAllowed)
    assert Delivery(1, encode(Export(1)), "local", False, 0.0, 60.0).exactly_once is False
