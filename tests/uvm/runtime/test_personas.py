"""The image's models and adapters: what personas are asked and told, by whom, and who follows."""

import pytest

from tests.uvm.images import Bench, awakened, new_database
from uvm.errors import BadArguments, BadValue, InUse, NoSuchAdapter, NoSuchModel, NoSuchObject, NotAllowed, UnfitAdapter
from uvm.generation.drafting import NoModel, Voice, voice_of
from uvm.image import model_registry
from uvm.image.image import Image
from uvm.machine.delivery import Answered, Delivery
from uvm.objects import KIND, PARENTS, UvmObject
from uvm.protocol import Send, decode_value, encode
from uvm.rights import ALL

SMALL, LARGE = "a" * 64, "b" * 64
TONES = {"warm": "1" * 64, "terse": "2" * 64, "grand": "3" * 64}


@pytest.fixture
def database():
    return new_database()


@pytest.fixture
def bench(database):
    """Two models, of which the small one is in use with the adapter `warm`; `terse` is the small one's as well, `grand` the large one's."""
    with awakened(database) as image:
        image.manager.begin()
        traits, mind = image.named("traits_obj"), image.named("pLLM_obj")
        for name, digest in (("small", SMALL), ("large", LARGE)):
            facts = {PARENTS: [traits], KIND: "model", "digest": digest, "name": name, "bytes": 10, "blobs": {}}
            model_registry.enter(image, "model", UvmObject(facts))
        for name, digest in TONES.items():
            base = LARGE if name == "grand" else SMALL
            facts = {PARENTS: [traits], KIND: "adapter", "digest": digest, "name": name, "base": base, "rank": 4, "bytes": 1, "blobs": {}}
            model_registry.enter(image, "adapter", UvmObject(facts))
        mind.put("model", model_registry.at(image, "model", SMALL))
        mind.put("adapter", model_registry.at(image, "adapter", TONES["warm"]))
        image.manager.commit()
        yield Bench(image)


def answer(outcome):
    assert isinstance(outcome, Answered), outcome.error
    return decode_value(outcome.result)


def voices(image):
    """What each persona would be drafted for with, by name."""
    image.manager.begin()
    try:
        return {name: voice_of(image, image.named(name)._p_oid, lambda proxy, kind: None) for name in ("robin", "brick", "babs", "alfred")}
    finally:
        image.manager.abort()


def digests(image):
    image.manager.begin()
    listed = [model_registry.digests(image, kind) for kind in model_registry.KINDS]
    image.manager.abort()
    return listed


WARM = Voice(SMALL, TONES["warm"], "warm")


def test_assigning_an_adapter_changes_one_personas_voice_in_every_process_with_the_commit(bench, database):
    there = Image(database)
    assert set(voices(there).values()) == {WARM}
    assert answer(bench.send("robin", "assignAdapter_", "terse"))["adapter"] == {"name": "terse", "digest": TONES["terse"]}
    terse = Voice(SMALL, TONES["terse"], "terse")
    for image in (bench.image, there):
        assert voices(image) == {"robin": terse, "brick": WARM, "babs": WARM, "alfred": WARM}
    assert answer(bench.send("robin", "assignAdapter_", None))["adapter"] == {"name": "warm", "digest": TONES["warm"]}
    assert set(voices(there).values()) == {WARM}
    there.connection.close()


def test_using_another_model_is_one_transaction_says_what_does_not_fit_and_can_be_turned_back(bench, database):
    answer(bench.send("brick", "assignAdapter_", "terse"))
    commits = bench.batch.commits
    told = answer(bench.send("pLLM_obj", "useModel_", "large"))
    assert bench.batch.commits == commits + 1
    assert told["model"] == {"name": "large", "digest": LARGE} and told["before"] == {"name": "small", "digest": SMALL}
    silent = [("brick", "terse"), ("pLLM_obj", "warm")]
    assert sorted((one["persona"], one["name"]) for one in told["unfit"]) == silent
    there = Image(database)
    assert set(voices(there).values()) == {Voice(LARGE)}, "the model as it is serves where its adapter does not fit"
    answer(bench.send("babs", "assignAdapter_", "grand"))
    assert voices(there)["babs"] == Voice(LARGE, TONES["grand"], "grand")
    told = answer(bench.send("pLLM_obj", "useModel_", "small"))
    assert [one["persona"] for one in told["unfit"]] == ["babs"]
    assert voices(there) == {"robin": WARM, "brick": Voice(SMALL, TONES["terse"], "terse"), "babs": Voice(SMALL), "alfred": WARM}
    there.connection.close()


def test_what_is_kept_is_listed_with_who_uses_it(bench):
    answer(bench.send("robin", "assignAdapter_", "terse"))
    rows = answer(bench.send("pLLM_obj", "models"))
    assert [(row["name"], row["digest"], row["used_by"]) for row in rows] == [("large", LARGE, []), ("small", SMALL, ["pLLM_obj"])]
    rows = answer(bench.send("pLLM_obj", "adapters"))
    shown = [(row["name"], row["base"], row["rank"], row["state"], row["used_by"]) for row in rows]
    assert shown == [
        ("warm", SMALL, 4, "ready", ["pLLM_obj"]),
        ("terse", SMALL, 4, "ready", ["robin"]),
        ("grand", LARGE, 4, "ready", []),
    ]
    assert [row["name"] for row in answer(bench.send("pLLM_obj", "adapters", TONES["warm"], 1))] == ["terse"]
    assert answer(bench.send("pLLM_obj", "adapters", TONES["grand"])) == []


@pytest.mark.parametrize(
    ("target", "selector", "argument", "kind"),
    [
        ("robin", "assignAdapter_", "grand", UnfitAdapter),
        ("robin", "assignAdapter_", "f" * 64, NoSuchAdapter),
        ("robin", "assignAdapter_", "no such", NoSuchAdapter),
        ("robin", "assignAdapter_", 5, BadArguments),
        ("nobody", "assignAdapter_", "terse", NoSuchObject),
        ("pLLM_obj", "useModel_", "no such", NoSuchModel),
        ("pLLM_obj", "useModel_", "", BadArguments),
        ("pLLM_obj", "removeModel_", "f" * 64, NoSuchModel),
        ("pLLM_obj", "removeModel_", "small", InUse),
        ("pLLM_obj", "removeModel_", "large", InUse),
        ("pLLM_obj", "removeAdapter_", "warm", InUse),
        ("pLLM_obj", "removeAdapter_", "f" * 64, NoSuchAdapter),
        ("pLLM_obj", "adapters", 5, BadArguments),
    ],
)
def test_what_cannot_be_is_refused_by_type_and_changes_nothing(bench, target, selector, argument, kind):
    before = voices(bench.image), digests(bench.image)
    outcome = bench.send(target, selector, argument)
    assert isinstance(outcome.error, kind), outcome
    assert outcome.error.remedy or kind in (BadArguments, NoSuchObject)
    assert (voices(bench.image), digests(bench.image)) == before


def test_an_object_without_a_model_is_no_persona(bench):
    bench.image.manager.begin()
    bench.image.named("pLLM_obj").drop("model")
    bench.image.manager.commit()
    assert isinstance(bench.send("robin", "assignAdapter_", "terse").error, BadValue)


def test_an_adapter_leaves_when_nobody_speaks_with_it_and_a_model_when_none_belongs_to_it(bench):
    assert answer(bench.send("pLLM_obj", "removeAdapter_", "grand")) == {"name": "grand", "digest": TONES["grand"]}
    assert answer(bench.send("pLLM_obj", "removeModel_", "large")) == {"name": "large", "digest": LARGE}
    assert digests(bench.image) == [[SMALL], [TONES["warm"], TONES["terse"]]]
    assert isinstance(bench.send("pLLM_obj", "removeAdapter_", "terse"), Answered)
    assert isinstance(bench.send("robin", "assignAdapter_", "terse").error, NoSuchAdapter)


@pytest.mark.parametrize("first", ["assign", "remove"])
def test_of_who_removes_an_adapter_and_who_begins_to_use_it_at_once_one_looks_again(bench, database, first):
    messages = {"assign": ("robin", "assignAdapter_", "terse"), "remove": ("pLLM_obj", "removeAdapter_", "terse")}
    there = Bench(Image(database), "uvm-2")
    attempts = bench.batch._commit
    raced = []

    def overtaken(deliveries, outcomes):
        if not raced:
            raced.append(there.send(*messages[first]))
        return attempts(deliveries, outcomes)

    bench.batch._commit = overtaken
    second = bench.send(*messages["remove" if first == "assign" else "assign"])
    assert isinstance(raced[0], Answered) and isinstance(second.error, InUse if first == "assign" else NoSuchAdapter)
    assert voices(bench.image)["robin"] == (Voice(SMALL, TONES["terse"], "terse") if first == "assign" else WARM)
    there.image.connection.close()


def test_what_was_removed_and_is_put_back_into_a_slot_serves_nobody(bench):
    bench.image.manager.begin()
    terse, large = (model_registry.at(bench.image, kind, digest) for kind, digest in (("adapter", TONES["terse"]), ("model", LARGE)))
    references = [bench.image.reference(terse), bench.image.reference(large)]
    bench.image.manager.abort()
    for selector, name in (("removeAdapter_", "terse"), ("removeAdapter_", "grand"), ("removeModel_", "large")):
        answer(bench.send("pLLM_obj", selector, name))
    answer(bench.send("robin", "setSlot_value_", "adapter", references[0]))
    assert voices(bench.image)["robin"] == Voice(SMALL)
    answer(bench.send("robin", "setSlot_value_", "model", references[1]))
    with pytest.raises(NoModel, match="was removed"):
        voices(bench.image)
    bench.image.manager.begin()
    assert model_registry.gather(bench.image) == []
    bench.image.manager.abort()


def test_the_beginning_of_a_digest_will_do_where_it_is_one_adapters_alone(bench):
    assert answer(bench.send("robin", "assignAdapter_", TONES["terse"][:8]))["adapter"]["name"] == "terse"
    bench.image.manager.begin()
    twin = UvmObject({KIND: "adapter", "digest": "2" * 63 + "0", "name": "twin", "base": SMALL, "blobs": {}})
    model_registry.enter(bench.image, "adapter", twin)
    bench.image.manager.commit()
    assert isinstance(bench.send("robin", "assignAdapter_", TONES["terse"][:8]).error, BadArguments)


def test_a_revoked_adapter_speaks_for_nobody_and_is_assigned_to_nobody(bench):
    bench.image.manager.begin()
    model_registry.at(bench.image, "adapter", TONES["warm"]).put("state", "revoked")
    bench.image.manager.commit()
    assert set(voices(bench.image).values()) == {Voice(SMALL)}
    assert isinstance(bench.send("robin", "assignAdapter_", "warm").error, UnfitAdapter)
    assert answer(bench.send("pLLM_obj", "adapters"))[0]["state"] == "revoked"


def sent(bench, rights, target, selector, *args):
    request = Send(id=1, target=target, selector=selector, args=list(args))
    return bench.run(Delivery(1, encode(request), "someone", False, 0.0, 60.0, frozenset(rights)))[0]


def test_a_primordial_persona_is_changed_by_policy_alone_and_what_is_kept_by_who_administers(bench):
    sending, policy, administer = ALL - {"policy", "administer"}, ALL - {"administer"}, ALL - {"policy"}
    for rights in (sending, administer):
        assert isinstance(sent(bench, rights, "robin", "assignAdapter_", "terse").error, NotAllowed)
        assert isinstance(sent(bench, rights, "pLLM_obj", "useModel_", "large").error, NotAllowed)
    for rights in (sending, policy):
        assert isinstance(sent(bench, rights, "pLLM_obj", "removeAdapter_", "terse").error, NotAllowed)
    assert isinstance(sent(bench, sending, "pLLM_obj", "models"), Answered)
    assert isinstance(sent(bench, policy, "robin", "assignAdapter_", "terse"), Answered)
    assert isinstance(sent(bench, administer, "pLLM_obj", "removeAdapter_", "grand"), Answered)


def test_somebodys_own_persona_is_theirs_to_assign_to(bench):
    twin = answer(bench.send("robin", "clone"))
    assert isinstance(sent(bench, ALL - {"policy", "administer"}, twin, "assignAdapter_", "terse"), Answered)
    assert voices(bench.image)["robin"] == WARM


@pytest.mark.parametrize("body", ["self.models()", "self.adapters()", "self.useModel_('large')", "self.removeAdapter_('terse')"])
def test_a_method_is_not_asked_which_models_the_image_keeps(bench, body):
    bench.install("pLLM_obj", "look", f"def look(self):\n    return {body}\n")
    assert isinstance(bench.send("pLLM_obj", "look").error, NotAllowed)
    assert digests(bench.image) == [[SMALL, LARGE], sorted(TONES.values())]


def test_what_an_older_image_uses_is_kept_from_the_next_awakening_on(bench):
    from uvm.awakening.renewal import renew

    bench.image.manager.begin()
    del bench.image.root["models"], bench.image.root["adapters"]
    bench.image.manager.commit()
    bench.image.manager.begin()
    assert renew(bench.image) == ["models", "adapters", SMALL[:12], TONES["warm"][:12]]
    bench.image.manager.commit()
    assert digests(bench.image) == [[SMALL], [TONES["warm"]]]


def test_what_mattered_is_in_the_chronicle_and_a_change_of_the_model_can_be_undone(bench):
    answer(bench.send("pLLM_obj", "useModel_", "large", session="s", seq=1))
    answer(bench.send("pLLM_obj", "removeAdapter_", "terse", session="s", seq=2))
    page = answer(bench.send("genesis_obj", "recent_", kwargs={"chronicle": True}))
    mattered = [(entry["kind"], entry["author"], entry["facts"]) for entry in page["entries"]]
    assert mattered == [
        ("adapter", "local", {"done": "removed", "name": "terse", "digest": TONES["terse"]}),
        ("model", "local", {"name": "large", "digest": LARGE}),
    ]
    answer(bench.send("genesis_obj", "undo_", "s/1"))
    assert voices(bench.image)["robin"] == WARM
