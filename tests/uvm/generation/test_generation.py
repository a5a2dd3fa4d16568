"""A message nobody understands, from reified to installed or refused, with real trials and a scripted model."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inference_worker.protocol import Completed, Output
from tests.uvm.houses import BuildHouse, House, make_shop, offer
from tests.uvm.images import awakened, new_database
from uvm.errors import ImageError
from uvm.generation import claims
from uvm.image.image import Image
from uvm.machine.delivery import Answered, Thinking
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Example, Progress, Reference, decode_value
from uvm.trial.client import TrialServer


def test_a_missing_method_is_written_and_the_message_answered(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost * self.pieces"])
    shop = make_shop(house)
    assert house.send(shop, "worth") == 12
    assert house.stages() == ["reified", "reflected", "drafted", "audited", "tried", "installed"]
    report = house.send(shop, "explain_", "worth")
    assert report["source"] == "def worth(self):\n    return self.cost * self.pieces\n"
    assert report["proof"]["prompt"].endswith("def worth(self):\n")
    assert report["proof"]["trial"]["result"] == 12 and report["proof"]["trial"]["confined"]
    assert report["proof"]["mode"] == "merged", "the proof says how the model computed the draft"
    assert house.send("genesis_obj", "methods") == 1
    assert house.send("traits_obj", "respondsTo_", "worth") is False


def test_a_proof_names_the_server_that_wrote_the_method_and_no_adapter_that_it_left_out(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost * self.pieces"])
    house.model.wrote = {"mode": "base", "endpoint": "https://gpu.example", "endpoint_model": "llama"}
    shop = make_shop(house)
    assert house.send(shop, "worth") == 12
    proof = house.send(shop, "explain_", "worth")["proof"]
    assert (proof["mode"], proof["endpoint"], proof["endpoint_model"], proof["adapter"]) == ("base", "https://gpu.example", "llama", "")
    assert {draft["endpoint_model"] for draft in proof["drafts"]} == {"llama"}


def test_while_the_engine_starts_whoever_follows_is_told_and_no_longer(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost * self.pieces"])
    shop = make_shop(house)
    house.model.starting = "the engine is starting, 34 s so far; loading the model"
    ended: list[ImageError | None] = []
    (missing,) = house.missed(house.bench.delivery(shop, "worth"))
    house.writers.request(missing, ended.append)
    house.until(lambda: any("waiting" in event.detail for event in progress_of(house)))
    waiting = progress_of(house)[-1]
    assert (waiting.stage, waiting.selector, waiting.receiver) == ("drafting", "worth", shop)
    assert waiting.detail == {"waiting": "the engine is starting, 34 s so far; loading the model"}
    assert waiting.message == progress_of(house)[0].message
    published = len(progress_of(house))
    house.writers.tick(time.monotonic())
    assert len(progress_of(house)) == published, "once a second"
    house.model.starts()
    house.until(lambda: ended)
    assert ended == [None] and "waiting" not in progress_of(house)[-1].detail
    assert not list(house.writers._questions.waits.due(time.monotonic() + 60)), "nothing is told of what has ended"


def progress_of(house: House) -> Any:
    return [event for event in house.events if isinstance(event, Progress)]


def test_drafts_that_break_the_language_lose_to_one_that_keeps_it(build_house: BuildHouse) -> None:
    house = build_house(worth=["    import os\n    return os.getpid()", "    return self.cost"])
    shop = make_shop(house)
    assert house.send(shop, "worth") == 4
    drafts = house.send(shop, "explain_", "worth")["proof"]["drafts"]
    assert [draft["outcome"] for draft in drafts] == ["unfit", "ok"]


def test_what_the_caller_expects_decides_between_drafts(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost + self.pieces", "    return self.cost * self.pieces"])
    shop = make_shop(house)
    assert house.send(shop, "worth", examples=[Example(12)]) == 12


def test_when_nothing_is_good_enough_the_reasons_are_answered_and_kept(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost / 0"])
    shop = make_shop(house)
    error = house.send(shop, "worth")
    assert error.type == "Refused" and "ZeroDivisionError" in error.message and "example" in error.remedy
    assert house.stages()[-1] == "refused"
    house.model.bodies["worth"] = ["    return self.cost"]
    assert house.send(shop, "worth") == 4


def test_what_is_installed_corrected_and_refused_is_in_the_chronicle_and_undo_takes_it_back(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost"], price=["    return 1 / 0"])
    shop = make_shop(house)
    house.send(shop, "worth", session="s", seq=7)
    offer(house, shop, "worth", "def worth(self):\n    return self.pieces\n")
    house.send(shop, "price")
    refusal, correction, install = house.send("genesis_obj", "recent_", "", 10, True)["entries"]
    assert [entry["kind"] for entry in (install, correction, refusal)] == ["install", "correction", "refusal"]
    assert install["author"] in ("robin", "brick", "babs", "alfred") and correction["author"] == "local"
    (change,) = correction["changes"]
    assert change["object"] == correction["method"] == install["method"], "it is the same method, another version of it"
    assert refusal["facts"]["type"] == "Refused"
    assert house.send(install["cause"], "selector") == "worth" and refusal["object"] == shop
    house.send("genesis_obj", "undo_", correction["entry"])
    assert house.send(shop, "worth") == 4 and house.send(shop, "explain_", "worth")["author"] == install["author"]


def test_a_change_that_would_be_forgotten_is_marked_before_it_is_tried(build_house: BuildHouse) -> None:
    house = build_house(label_=["    self.tags.append(a)\n    return self.tags"])
    shop = make_shop(house)
    assert house.send(shop, "label_", "red") == ["new", "red"]
    assert "self._p_changed = True" in house.send(shop, "explain_", "label_")["source"]
    assert house.send(shop, "tags") == ["new", "red"]


def test_a_trial_leaves_no_trace_and_the_message_acts_once(build_house: BuildHouse) -> None:
    house = build_house(sell=["    self.pieces -= 1\n    return self.pieces"])
    shop = make_shop(house)
    assert house.send(shop, "sell", session="s", seq=1) == 2
    assert house.send(shop, "sell", session="s", seq=1) == 2
    assert house.send(shop, "pieces") == 2


def test_an_object_of_the_same_shape_gets_the_method_without_the_model(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost * self.pieces"])
    shop, sibling = make_shop(house), make_shop(house)
    assert house.send(shop, "worth") == 12
    questions = len(house.model.asked)
    house.send(sibling, "setSlot_value_", "cost", 5)
    assert house.send(sibling, "worth") == 15
    assert len(house.model.asked) == questions
    report, origin = house.send(sibling, "explain_", "worth"), house.send(shop, "explain_", "worth")
    assert report["proof"] == origin["proof"] and report["proof"]["mode"] == "merged", (
        "it is the same method, with what it can show for itself"
    )
    assert report["came"]["round"] == 2 and report["came"]["trial"]["result"] == 15 and "came" not in origin


def test_the_choice_of_drafts_is_the_images_own(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return 1", "    return 2", "    return 3"], drafts=3)
    house.bench.install("pLLM_obj", "chooseFrom_", "def chooseFrom_(self, candidates):\n    return candidates[-1]['index']\n", 1)
    house.bench.install(
        "pLLM_obj",
        "reflectOn_",
        "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'mine ' + message.signature, 'drafts': 3})\n",
        1,
    )
    shop = make_shop(house)
    assert house.send(shop, "worth") == 3
    assert house.model.asked[-1].prompt == "mine def worth(self):"


def test_a_method_that_a_draft_needs_is_written_first(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.price_of_all() + 1"], price_of_all=["    return self.cost * self.pieces"])
    shop = make_shop(house)
    assert house.send(shop, "worth") == 13
    assert house.send(shop, "respondsTo_", "price_of_all") is True


def boxed(house: House) -> tuple[Any, Any]:
    """A shop, and the one box that it refers to, twice: once by itself and once in a list."""
    shop, box = make_shop(house), house.send("genesis_obj", "clone")
    for owner, slot, value in ((box, "width", 2), (box, "height", 5), (shop, "box", box), (shop, "boxes", [box])):
        house.send(owner, "setSlot_value_", slot, value)
    return shop, box


def test_a_field_that_the_objects_of_a_list_lack_is_no_method_of_theirs(build_house: BuildHouse) -> None:
    body = "    t = 0\n    for a in self.boxes:\n        t = t + a.weight\n    return t"
    house = build_house(total_weight=[body, "    return self.weight"], weight=["    self.width = 0\n    return 7"])
    shop, box = boxed(house)
    error = house.send(shop, "total_weight")
    assert error.type == "Refused" and "reads weight, which is no slot there" in str(error.details["reasons"])
    assert house.send(box, "respondsTo_", "weight") is house.send(shop, "respondsTo_", "weight") is False
    assert house.send(box, "width") == 2 and not any("needs" in event.detail for event in progress_of(house))


def test_a_method_of_another_object_is_written_only_where_no_other_draft_will_do(build_house: BuildHouse) -> None:
    asks, volume = "    return self.box.volume()", ["    return self.width * self.height"]
    house = build_house(load=[asks, "    return self.box.width * self.box.height"], capacity=[asks], volume=volume)
    shop, box = boxed(house)
    assert house.send(shop, "load") == 10
    assert house.send(box, "respondsTo_", "volume") is False, "the other draft did"
    assert house.send(shop, "capacity") == 10
    assert house.send(box, "respondsTo_", "volume") is True


def test_what_a_draft_needs_of_another_object_changes_nothing_there(build_house: BuildHouse) -> None:
    house = build_house(load=["    return self.box.take_it()"], take_it=["    self.width = self.width - 1\n    return self.width"])
    shop, box = boxed(house)
    error = house.send(shop, "load")
    assert error.type == "Refused" and "changes width" in str(error.details["reasons"])
    assert house.send(box, "width") == 2 and house.send(box, "respondsTo_", "take_it") is False
    assert house.send(box, "take_it") == 1, "whoever sends it to the box itself has it written"


def test_a_need_has_no_need_of_its_own(build_house: BuildHouse) -> None:
    house = build_house(load=["    return self.half() * 2"], half=["    return self.quarter() * 2"], quarter=["    return 1"])
    shop, _ = boxed(house)
    error = house.send(shop, "load")
    assert error.type == "Refused" and "needs quarter, which nobody understands" in str(error.details["reasons"])
    assert house.send(shop, "respondsTo_", "half") is house.send(shop, "respondsTo_", "quarter") is False


def test_two_methods_that_wait_for_each_other_are_refused(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.value_of_it()"], value_of_it=["    return self.worth()"])
    shop = make_shop(house)
    assert house.send(shop, "worth").type == "Refused"


def test_a_method_may_think(build_house: BuildHouse) -> None:
    house = build_house(motto=["    return self.infer_('Say something wise') + '!'"], **{"": ["so it goes"], "*": ["so it goes"]})
    shop = make_shop(house)
    delivery = house.bench.delivery(shop, "motto")
    (request,) = house.missed(delivery)
    assert house.write(request) is None
    (outcome,) = house.bench.run(delivery)
    assert isinstance(outcome, Thinking)
    delivery.thoughts[outcome.key] = "so it goes"
    (outcome,) = house.bench.run(delivery)
    assert isinstance(outcome, Answered) and decode_value(outcome.result) == "so it goes!"


def test_another_process_finishes_what_a_dead_one_had_begun(trials: TrialServer, tmp_path: Path) -> None:
    database = new_database()
    with awakened(database) as image:
        image.manager.begin()
        image.named("pLLM_obj").put("model", UvmObject({KIND: "model", "digest": "0" * 64, "blobs": {}, "name": "scripted"}))
        image.manager.commit()
        (tmp_path / "models" / ("0" * 64)).mkdir(parents=True)
        house = House(image, trials, {}, tmp_path)
        shop = make_shop(house)
        (missing,) = house.missed(house.bench.delivery(shop, "worth"))
        request = msgspec.structs.replace(missing, asked_at=time.time())
        facts = {**request.reified, "selector": "worth", "receiver": None, "depth": 0, "waits_for": []}
        claim = house.transactor.run(lambda: claims.claim(image, request.key, facts, "dead/1", request.asked_at, False))
        assert claim.state == "mine"

        heir = House(Image(database), trials, {"worth": ["    return 7"]}, tmp_path, name="uvm-2")
        ended: list[ImageError | None] = []
        heir.writers.request(request, ended.append)
        heir.writers.tick(time.monotonic())
        assert not ended, "the owner's lease has not ended yet"

        def lapse() -> None:
            image.at(Reference(claim.oid)).put("lease", time.time() - 1)

        house.transactor.run(lapse)
        heir.until(lambda: ended)
        assert ended == [None]
        assert heir.send(shop, "worth") == 7
        heir.image.connection.close()


def test_a_tools_method_passes_the_same_gates_and_is_installed(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    report = offer(house, shop, "worth", "def worth(self):\n    return self.cost * 2\n", session="t", seq=1)
    assert report["selector"] == "worth" and report["proof"]["trial"]["result"] == 8
    assert house.send(shop, "worth") == 8


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def worth(self):\n    import os\n", "AuditRefused"),
        ("def other(self):\n    return 1\n", "AuditRefused"),
        ("def worth(self)\n    return 1\n", "AuditRefused"),
        ("def worth(self):\n    return self.cost / 0\n", "TrialFailed"),
        ("def worth(self):\n    while True:\n        pass\n", "TrialFailed"),
    ],
)
def test_a_tools_bad_method_is_refused_by_type_and_changes_nothing(build_house: BuildHouse, source: str, kind: Any) -> None:
    house = build_house()
    shop = make_shop(house)
    error = offer(house, shop, "worth", source, session="t", seq=1)
    assert error.type == kind and error.details["reasons"]
    assert house.send(shop, "respondsTo_", "worth") is False


def test_a_tools_method_with_arguments_is_tried_on_its_examples(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    source = "def scaled_(self, a):\n    return self.cost * a\n"
    assert offer(house, shop, "scaled_", source, session="t", seq=1, examples=[Example(9, [2])]).type == "TrialFailed"
    assert offer(house, shop, "scaled_", source, session="t", seq=2, examples=[Example(8, [2])])["selector"] == "scaled_"
    assert house.send(shop, "scaled_", 5) == 20


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("while a:\n        pass", "TicksSpent"),
        ("if a > 41:\n        while True:\n            pass\n    return a", "TicksSpent"),
        ("self.parents()[0].removeSlot_('clone')\n    return a", "NotAllowed"),
        ("genesis = self.parents()[0]\n    genesis.setSlot_value_('clones', a)", "NotAllowed"),
        ("self.cost = {a} if isinstance_of(a, 'int') else 1", "BadValue"),
        ("q = []\n    self.tags = q\n    q.append({1})\n    return a", "BadValue"),
        ("return a.twice_of_it(a)", "NoExample"),
        ("raise ValueError('never')", "NoExample"),
        ("return {1: lambda: a}", "BadValue"),
        ("return ['x' * 1000000 for n in range(10)]", "TooLarge"),
    ],
)
def test_an_offer_without_an_example_is_tried_with_made_up_arguments(build_house: BuildHouse, body: Any, outcome: Any) -> None:
    house = build_house()
    shop = make_shop(house)
    error = offer(house, shop, "trap_", f"def trap_(self, a):\n    {body}\n", session="t", seq=1)
    assert error.type == "TrialFailed"
    assert [reason["outcome"] for reason in error.details["reasons"]] == [outcome], error.message
    assert "example" in error.remedy
    assert house.send(shop, "respondsTo_", "trap_") is False


@pytest.mark.parametrize(
    "source",
    [
        "def use_(self, a):\n    self.pieces -= a\n    return self.pieces\n",
        "def use_(self, a):\n    if a not in self.tags:\n        self.tags.append(a)\n    return self.tags\n",
        "def use_(self, a, b):\n    self.setSlot_value_(a, b)\n    return self\n",
        "def use_(self, a):\n    if isinstance_of(a, 'str'):\n        raise ValueError('no text')\n    return a\n",
        "def use_(self, a):\n    return [row['price'] * row['count'] for row in a]\n",
        "def use_(self, other):\n    return other.cost + self.cost\n",
        "def use_(self, a, upper=True):\n    return a.upper() if upper else a.lower()\n",
        "def use_(self, n):\n    return [k * self.cost for k in range(n)]\n",
    ],
)
def test_an_offer_whose_parameters_are_plain_from_its_source_needs_no_example(build_house: BuildHouse, source: str) -> None:
    house = build_house()
    report = offer(house, make_shop(house), "use_", source, session="t", seq=1)
    assert not hasattr(report, "error") and report["proof"]["trial"]["made_up_ended"] > 0, report


def test_examples_may_name_the_arguments_that_they_pass(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    source = "def scaled_(self, a, by=2):\n    return self.cost * a * by\n"
    examples = [Example(8, [], {"a": 1}), Example(12, [1], {"by": 3}), Example(12, [], {"by": 3, "a": 1})]
    assert offer(house, shop, "scaled_", source, session="t", seq=1, examples=examples)["selector"] == "scaled_"
    assert house.send(shop, "scaled_", kwargs={"a": 1, "by": 5}) == 20
    error = offer(house, shop, "other_", source.replace("scaled_", "other_"), session="t", seq=2, examples=[Example(8, [], {"c": 1})])
    assert error.type == "TrialFailed" and "takes (a, by)" in error.message


def test_an_offer_of_the_name_of_a_data_slot_is_refused_and_the_value_stays(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    error = offer(house, shop, "cost", "def cost(self):\n    return 1\n", session="t", seq=1)
    assert error.type == "NotAllowed" and "removeSlot_" in error.remedy
    assert house.send(shop, "cost") == 4


@pytest.mark.parametrize("name", ["é", "a-b", "1a", "", "a" * 129, "_x", "parent*", "x\ny = 1", "ａ"])
def test_a_slot_is_named_as_a_selector_can_be_sent(build_house: BuildHouse, name: str) -> None:
    house = build_house()
    shop = make_shop(house)
    assert house.send(shop, "setSlot_value_", name, 1).type == "NotAllowed"


def test_a_slot_of_an_earlier_version_with_letters_of_another_alphabet_can_be_read_and_removed(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    house.image.manager.begin()
    house.image.at(shop).put("é", 5)
    house.image.manager.commit()
    assert house.send(shop, "slot_", "é") == 5
    assert house.send(shop, "respondsTo_", "é") is True
    house.send(shop, "removeSlot_", "é")
    assert house.send(shop, "respondsTo_", "é") is False


@pytest.mark.parametrize("look", ["stage", "owner", "drafts", "slotNames()", "clone().stage", "slot_('stage')", "selector", "call"])
def test_a_method_sees_nothing_of_what_becomes_of_the_message_it_is_written_for(build_house: BuildHouse, look: Any) -> None:
    house = build_house(spy=["    return self.cost / 0"])
    shop = make_shop(house)
    house.send(shop, "setSlot_value_", "watched", None)
    message = house.send(shop, "spy").details["message"]
    house.image.manager.begin()
    house.image.at(shop).put("watched", house.image.at(Reference.parse(message)))
    house.image.manager.commit()
    body = f"    try:\n        return self.watched.{look}\n    except Exception as error:\n        return f'{{error}}'"
    house.model.bodies["spy"] = [body]
    answer = house.send(shop, "spy")
    assert not isinstance(answer, ImageError), answer.message
    report = house.send(shop, "explain_", "spy")["proof"]
    assert report["message"] == message and report["trial"]["result"] == answer


def test_when_all_drafts_fail_the_next_ones_do_without_what_those_read(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return self.cost * self.tags * 1.5"])
    shop = make_shop(house)

    def without_tags(generate: Any, seconds: Any, done: Any, writing: Any = None) -> None:
        house.model.asked.append(generate)
        body = (
            "    return self.cost * self.tags * 1.5"
            if '"tags"' in generate.grammar.split("slot ::=")[1].split("\n")[0]
            else "    return self.cost"
        )
        done(Completed(generate.id, [Output(body, 10, -0.1, "stop") for _ in generate.samplings], 100, 0.0, 0.1))

    house.model.ask = without_tags
    assert house.send(shop, "worth") == 4
    drafts = house.send(shop, "explain_", "worth")["proof"]["drafts"]
    assert [draft["outcome"] for draft in drafts] == ["TypeError", "ok"]


def test_what_a_draft_needs_is_written_with_the_rights_of_who_sent_the_message(build_house: BuildHouse) -> None:
    """And so not on an object that only the right policy changes."""
    house = build_house(total=["    return self.mind.unheard_of()"], unheard_of=["    return 5"])
    shop = make_shop(house)
    mind = house.looked(lambda: house.image.reference(house.image.named("pLLM_obj")))
    house.send(shop, "setSlot_value_", "mind", mind)
    delivery = house.bench.delivery(shop, "total")
    delivery.rights = frozenset({"read", "send"})
    (missing,) = house.missed(delivery)
    error = house.write(missing)
    assert error is not None and "primordial" in str(error.details["reasons"]), error
    assert house.looked(lambda: house.image.named("pLLM_obj").own("unheard_of")) is ABSENT
