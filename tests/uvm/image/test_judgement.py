"""The numbers that weigh drafts follow the adapter, and the image says where they were not fitted to it."""

import json
from typing import Any

import pytest
from ZODB.blob import Blob
from ZODB.DemoStorage import DemoStorage

from tests.uvm.images import Bench, awakened
from uvm.awakening import renewal
from uvm.errors import BadJudgement
from uvm.image import judgement, model_registry
from uvm.image.image import Database
from uvm.machine.delivery import Answered
from uvm.objects import KIND, PARENTS, UvmObject
from uvm.protocol import decode_value

MODEL = "a" * 64
MIND = "pLLM_obj"
SHIPPED_NOW = "48db9fa4"
"""How the digest of the shipped numbers begins. Where it changes and the adapter that ships does not, `SUPERSEDED` gets the one before."""
OWN = {name: value for name, value in judgement.shipped().items() if name != "digest"} | {"bias": 0.25}


def encoded(content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.fixture
def bench():
    """A model, `fitted` and `other` with numbers of their own, `plain` without, `broken` with what are none; `plain` is in use."""
    own = {"fitted": encoded(OWN), "other": encoded(OWN | {"bias": 0.5}), "plain": None, "broken": b'{"bias": "much"}'}
    with awakened(Database(DemoStorage())) as image:
        image.manager.begin()
        mind, traits = image.named(MIND), image.named("traits_obj")
        model = UvmObject({PARENTS: [traits], KIND: "model", "digest": MODEL, "name": "small", "blobs": {}})
        model_registry.enter(image, "model", model)
        mind.put("model", model)
        for number, (name, octets) in enumerate(own.items()):
            blobs = {}
            if octets is not None:
                blobs["decision.json"] = blob = Blob()
                image.connection.add(blob)
                with blob.open("w") as file:
                    file.write(octets)
            facts = {"digest": str(number) * 64, "name": name, "base": MODEL, "blobs": blobs}
            model_registry.enter(image, "adapter", UvmObject({PARENTS: [traits], KIND: "adapter", **facts}))
        mind.put("adapter", model_registry.named(image, "adapter", "plain"))
        image.manager.commit()
        yield Bench(image)


def sent(bench: Bench, target: str, selector: str, *args: Any) -> Any:
    outcome = bench.send(target, selector, *args)
    assert isinstance(outcome, Answered), outcome.error
    return decode_value(outcome.result)


def assign(bench: Bench, name: str | None, persona: str = MIND) -> dict[str, Any]:
    in_force: dict[str, Any] = sent(bench, persona, "assignAdapter_", name)["judgement"]
    assert in_force == sent(bench, persona, "showJudgement") == sent(bench, persona, "showPrompt")["judgement"]
    return in_force


def held(bench: Bench) -> Any:
    return sent(bench, MIND, "slot_", "judgement")


def test_an_adapter_brings_its_own_numbers_and_one_without_them_gets_the_shipped_ones_and_says_so(bench):
    assert sent(bench, MIND, "showJudgement") == {"of": "shipped", "fitted": False, "digest": judgement.shipped()["digest"]}
    assert assign(bench, "fitted") == {"of": "adapter", "fitted": True, "digest": judgement.digest(OWN)}
    assert held(bench)["bias"] == 0.25
    assert assign(bench, "other")["fitted"] and held(bench)["bias"] == 0.5
    assert assign(bench, "plain")["of"] == "shipped" and held(bench) == judgement.shipped()
    assign(bench, "fitted")
    assert assign(bench, None)["fitted"] is False and held(bench) == judgement.shipped(), "the model as it is has none"
    rows = {row["name"]: row["judgement"] for row in sent(bench, MIND, "adapters")}
    assert rows == {"fitted": True, "other": True, "plain": False, "broken": True}


def test_a_personas_own_adapter_is_weighed_by_the_numbers_of_all_and_the_image_says_that_they_are_not_its(bench):
    assign(bench, "fitted")
    assert assign(bench, "other", "robin") == {"of": "adapter", "fitted": False, "digest": judgement.digest(OWN)}
    assert held(bench)["bias"] == 0.25 and sent(bench, "brick", "showJudgement")["fitted"] is True


def test_what_a_message_has_put_there_stays_whatever_adapter_is_assigned(bench):
    sent(bench, MIND, "setSlot_value_", "judgement", OWN | {"bias": 0.75})
    assert assign(bench, "fitted") == {"of": "message", "fitted": None, "digest": ""}
    assert held(bench)["bias"] == 0.75


def test_numbers_that_cannot_be_used_are_refused_with_a_remedy_and_change_nothing(bench):
    outcome = bench.send(MIND, "assignAdapter_", "broken")
    assert isinstance(outcome.error, BadJudgement) and "decision.json of the adapter broken" in outcome.error.message
    assert "forge.calibrate" in outcome.error.remedy
    assert sent(bench, MIND, "showPrompt")["adapter"]["name"] == "plain" and held(bench) == judgement.shipped()


def test_an_undo_of_an_assignment_takes_both_back(bench):
    assign(bench, "fitted")
    entry = sent(bench, MIND, "history_", "judgement")["entries"][0]["entry"]
    sent(bench, MIND, "undo_", entry)
    assert held(bench) == judgement.shipped() and sent(bench, MIND, "showPrompt")["adapter"]["name"] == "plain"


def test_an_awakening_brings_an_adapters_numbers_and_survives_those_that_cannot_be_used(bench):
    def awakened_with(name: str) -> tuple[bool, Any]:
        image = bench.image
        image.manager.begin()
        mind = image.named(MIND)
        mind.put("adapter", model_registry.named(image, "adapter", name))
        renewed = "judgement" in renewal.renew(image), mind.own("judgement")["bias"]
        again = "judgement" in renewal.renew(image)
        image.manager.abort()
        assert not again
        return renewed

    assert awakened_with("fitted") == (True, 0.25)
    assert awakened_with("broken") == (False, judgement.shipped()["bias"]) == awakened_with("plain")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "cannot be used"),
        (b"\xff", "cannot be used"),
        (b"[" * 60_000, "cannot be used"),
        (b" " * 65_537, "65,536 bytes"),
        (encoded(OWN | {"more": 1}), "more"),
        (encoded(OWN | {"means": {}}), "a mean"),
        (encoded(OWN | {"thresholds": {"without": [[0.1, 0.5]], "with": []}}), "with examples"),
        (encoded(OWN | {"thresholds": {"without": [[0.2, 0.5], [0.1, 0.6]], "with": [[0.1, 0.5]]}}), "rising risk"),
        (encoded(OWN).replace(b"0.25", b"1e999"), "cannot be used"),
        (encoded(OWN).replace(b"0.25", b"NaN"), "cannot be used"),
    ],
)
def test_a_file_is_read_by_its_type(content, says):
    with pytest.raises(BadJudgement, match=says) as refused:
        judgement.checked(content, "decision.json")
    assert refused.value.remedy


def test_what_shipped_before_with_the_same_weights_gives_way_to_what_ships(bench, monkeypatch):
    assert judgement.shipped()["digest"].startswith(SHIPPED_NOW), "put the digest before into SUPERSEDED, if the weights stayed the same"
    monkeypatch.setattr(judgement, "SUPERSEDED", frozenset({judgement.digest(OWN)}))
    assert assign(bench, "fitted") == {"of": "adapter", "fitted": True, "digest": judgement.shipped()["digest"]}
