"""A message nobody understands, from reified to installed or refused, with real trials and a scripted model."""

import time

import msgspec
import pytest

from inference_worker.protocol import Completed, Output
from tests.uvm.houses import House, make_shop, offer
from tests.uvm.images import awakened, new_database
from uvm.errors import ImageError
from uvm.generation import claims
from uvm.generation.request import MethodRequest
from uvm.image.image import Image
from uvm.machine.delivery import Answered
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Example, Progress, Reference, decode_value


def test_a_missing_method_is_written_and_the_message_answered(house):
    one = house(worth=["    return self.cost * self.pieces"])
    shop = make_shop(one)
    assert one.send(shop, "worth") == 12
    assert one.stages() == ["reified", "reflected", "drafted", "audited", "tried", "installed"]
    told = one.send(shop, "explain_", "worth")
    assert told["source"] == "def worth(self):\n    return self.cost * self.pieces\n"
    assert told["proof"]["prompt"].endswith("def worth(self):\n")
    assert told["proof"]["trial"]["result"] == 12 and told["proof"]["trial"]["confined"]
    assert told["proof"]["mode"] == "merged", "the proof says how the model computed the draft"
    assert one.send("genesis_obj", "methods") == 1
    assert one.send("traits_obj", "respondsTo_", "worth") is False


def test_a_proof_names_the_server_that_wrote_the_method_and_no_adapter_that_it_left_out(house):
    one = house(worth=["    return self.cost * self.pieces"])
    one.model.wrote = {"mode": "base", "endpoint": "https://gpu.example", "endpoint_model": "llama"}
    shop = make_shop(one)
    assert one.send(shop, "worth") == 12
    proof = one.send(shop, "explain_", "worth")["proof"]
    assert (proof["mode"], proof["endpoint"], proof["endpoint_model"], proof["adapter"]) == ("base", "https://gpu.example", "llama", "")
    assert {draft["endpoint_model"] for draft in proof["drafts"]} == {"llama"}


def test_while_the_engine_starts_whoever_follows_is_told_and_no_longer(house):
    one = house(worth=["    return self.cost * self.pieces"])
    shop = make_shop(one)
    one.model.starting = "the engine is starting, 34 s so far; loading the model"
    ended = []
    (missing,) = one.bench.run(one.bench.delivery(shop, "worth"))
    one.writers.request(missing, ended.append)
    one.until(lambda: any("waiting" in event.detail for event in progress_of(one)))
    waiting = progress_of(one)[-1]
    assert (waiting.stage, waiting.selector, waiting.receiver) == ("drafting", "worth", shop)
    assert waiting.detail == {"waiting": "the engine is starting, 34 s so far; loading the model"}
    assert waiting.message == progress_of(one)[0].message
    told = len(progress_of(one))
    one.writers.tick(time.monotonic())
    assert len(progress_of(one)) == told, "once a second"
    one.model.starts()
    one.until(lambda: ended)
    assert ended == [None] and "waiting" not in progress_of(one)[-1].detail
    assert not list(one.writers._questions.waits.due(time.monotonic() + 60)), "nothing is told of what has ended"


def progress_of(house):
    return [event for event in house.events if isinstance(event, Progress)]


def test_drafts_that_break_the_language_lose_to_one_that_keeps_it(house):
    one = house(worth=["    import os\n    return os.getpid()", "    return self.cost"])
    shop = make_shop(one)
    assert one.send(shop, "worth") == 4
    drafts = one.send(shop, "explain_", "worth")["proof"]["drafts"]
    assert [draft["outcome"] for draft in drafts] == ["unfit", "ok"]


def test_what_the_caller_expects_decides_between_drafts(house):
    one = house(worth=["    return self.cost + self.pieces", "    return self.cost * self.pieces"])
    shop = make_shop(one)
    assert one.send(shop, "worth", examples=[Example(12)]) == 12


def test_when_nothing_is_good_enough_the_reasons_are_answered_and_kept(house):
    one = house(worth=["    return self.cost / 0"])
    shop = make_shop(one)
    error = one.send(shop, "worth")
    assert error.type == "Refused" and "ZeroDivisionError" in error.message and "example" in error.remedy
    assert one.stages()[-1] == "refused"
    one.model.bodies["worth"] = ["    return self.cost"]
    assert one.send(shop, "worth") == 4


def test_what_is_installed_corrected_and_refused_is_in_the_chronicle_and_undo_takes_it_back(house):
    one = house(worth=["    return self.cost"], price=["    return 1 / 0"])
    shop = make_shop(one)
    one.send(shop, "worth", session="s", seq=7)
    offer(one, shop, "worth", "def worth(self):\n    return self.pieces\n")
    one.send(shop, "price")
    refusal, correction, install = one.send("genesis_obj", "recent_", "", 10, True)["entries"]
    assert [entry["kind"] for entry in (install, correction, refusal)] == ["install", "correction", "refusal"]
    assert install["author"] in ("robin", "brick", "babs", "alfred") and correction["author"] == "local"
    (change,) = correction["changes"]
    assert change["object"] == correction["method"] == install["method"], "it is the same method, another version of it"
    assert refusal["facts"]["type"] == "Refused"
    assert one.send(install["cause"], "selector") == "worth" and refusal["object"] == shop
    one.send("genesis_obj", "undo_", correction["entry"])
    assert one.send(shop, "worth") == 4 and one.send(shop, "explain_", "worth")["author"] == install["author"]


def test_a_change_that_would_be_forgotten_is_marked_before_it_is_tried(house):
    one = house(label_=["    self.tags.append(a)\n    return self.tags"])
    shop = make_shop(one)
    assert one.send(shop, "label_", "red") == ["new", "red"]
    assert "self._p_changed = True" in one.send(shop, "explain_", "label_")["source"]
    assert one.send(shop, "tags") == ["new", "red"]


def test_a_trial_leaves_no_trace_and_the_message_acts_once(house):
    one = house(sell=["    self.pieces -= 1\n    return self.pieces"])
    shop = make_shop(one)
    assert one.send(shop, "sell", session="s", seq=1) == 2
    assert one.send(shop, "sell", session="s", seq=1) == 2
    assert one.send(shop, "pieces") == 2


def test_an_object_of_the_same_shape_gets_the_method_without_the_model(house):
    one = house(worth=["    return self.cost * self.pieces"])
    shop, other = make_shop(one), make_shop(one)
    assert one.send(shop, "worth") == 12
    asked = len(one.model.asked)
    one.send(other, "setSlot_value_", "cost", 5)
    assert one.send(other, "worth") == 15
    assert len(one.model.asked) == asked
    told, origin = one.send(other, "explain_", "worth"), one.send(shop, "explain_", "worth")
    assert told["proof"] == origin["proof"] and told["proof"]["mode"] == "merged", "it is the same method, with what it can show for itself"
    assert told["came"]["round"] == 2 and told["came"]["trial"]["result"] == 15 and "came" not in origin


def test_the_choice_of_drafts_is_the_images_own(house):
    one = house(worth=["    return 1", "    return 2", "    return 3"], drafts=3)
    one.bench.install("pLLM_obj", "chooseFrom_", "def chooseFrom_(self, candidates):\n    return candidates[-1]['index']\n", 1)
    one.bench.install(
        "pLLM_obj",
        "reflectOn_",
        "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'mine ' + message.signature, 'drafts': 3})\n",
        1,
    )
    shop = make_shop(one)
    assert one.send(shop, "worth") == 3
    assert one.model.asked[-1].prompt == "mine def worth(self):"


def test_a_method_that_a_draft_needs_is_written_first(house):
    one = house(worth=["    return self.price_of_all() + 1"], price_of_all=["    return self.cost * self.pieces"])
    shop = make_shop(one)
    assert one.send(shop, "worth") == 13
    assert one.send(shop, "respondsTo_", "price_of_all") is True


def test_two_methods_that_wait_for_each_other_are_refused(house):
    one = house(worth=["    return self.value_of_it()"], value_of_it=["    return self.worth()"])
    shop = make_shop(one)
    assert one.send(shop, "worth").type == "Refused"


def test_a_method_may_think(house):
    one = house(motto=["    return self.infer_('Say something wise') + '!'"], **{"": ["so it goes"], "*": ["so it goes"]})
    shop = make_shop(one)
    work = one.bench.delivery(shop, "motto")
    (outcome,) = one.bench.run(work)
    assert isinstance(outcome, MethodRequest) and one.write(outcome) is None
    (outcome,) = one.bench.run(work)
    work.thoughts[outcome.key] = "so it goes"
    (outcome,) = one.bench.run(work)
    assert isinstance(outcome, Answered) and decode_value(outcome.result) == "so it goes!"


def test_another_process_finishes_what_a_dead_one_had_begun(trials, tmp_path):
    database = new_database()
    with awakened(database) as image:
        image.manager.begin()
        image.named("pLLM_obj").put("model", UvmObject({KIND: "model", "digest": "0" * 64, "blobs": {}, "name": "scripted"}))
        image.manager.commit()
        (tmp_path / "models" / ("0" * 64)).mkdir(parents=True)
        one = House(image, trials, {}, tmp_path)
        shop = make_shop(one)
        (outcome,) = one.bench.run(one.bench.delivery(shop, "worth"))
        request = msgspec.structs.replace(outcome, asked_at=time.time())
        facts = {**request.reified, "selector": "worth", "receiver": None, "depth": 0, "waits_for": []}
        claim = one.transactor.run(lambda: claims.claim(image, request.key, facts, "dead/1", request.asked_at, False))
        assert claim.state == "mine"

        heir = House(Image(database), trials, {"worth": ["    return 7"]}, tmp_path, name="uvm-2")
        ended = []
        heir.writers.request(request, ended.append)
        heir.writers.tick(time.monotonic())
        assert not ended, "the owner's lease has not ended yet"

        def lapse():
            image.at(Reference(claim.oid)).put("lease", time.time() - 1)

        one.transactor.run(lapse)
        heir.until(lambda: ended)
        assert ended == [None]
        assert heir.send(shop, "worth") == 7
        heir.image.connection.close()


def test_a_tools_method_passes_the_same_gates_and_is_installed(house):
    one = house()
    shop = make_shop(one)
    told = offer(one, shop, "worth", "def worth(self):\n    return self.cost * 2\n", session="t", seq=1)
    assert told["selector"] == "worth" and told["proof"]["trial"]["result"] == 8
    assert one.send(shop, "worth") == 8


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
def test_a_tools_bad_method_is_refused_by_type_and_changes_nothing(house, source, kind):
    one = house()
    shop = make_shop(one)
    error = offer(one, shop, "worth", source, session="t", seq=1)
    assert error.type == kind and error.details["reasons"]
    assert one.send(shop, "respondsTo_", "worth") is False


def test_a_tools_method_with_arguments_is_tried_on_its_examples(house):
    one = house()
    shop = make_shop(one)
    source = "def scaled_(self, a):\n    return self.cost * a\n"
    assert offer(one, shop, "scaled_", source, session="t", seq=1, examples=[Example(9, [2])]).type == "TrialFailed"
    assert offer(one, shop, "scaled_", source, session="t", seq=2, examples=[Example(8, [2])])["selector"] == "scaled_"
    assert one.send(shop, "scaled_", 5) == 20


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
def test_an_offer_without_an_example_is_tried_with_made_up_arguments(house, body, outcome):
    one = house()
    shop = make_shop(one)
    error = offer(one, shop, "trap_", f"def trap_(self, a):\n    {body}\n", session="t", seq=1)
    assert error.type == "TrialFailed"
    assert [reason["outcome"] for reason in error.details["reasons"]] == [outcome], error.message
    assert "example" in error.remedy
    assert one.send(shop, "respondsTo_", "trap_") is False


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
def test_an_offer_whose_parameters_are_plain_from_its_source_needs_no_example(house, source):
    one = house()
    told = offer(one, make_shop(one), "use_", source, session="t", seq=1)
    assert not hasattr(told, "error") and told["proof"]["trial"]["made_up_ended"] > 0, told


def test_examples_may_name_the_arguments_that_they_pass(house):
    one = house()
    shop = make_shop(one)
    source = "def scaled_(self, a, by=2):\n    return self.cost * a * by\n"
    examples = [Example(8, [], {"a": 1}), Example(12, [1], {"by": 3}), Example(12, [], {"by": 3, "a": 1})]
    assert offer(one, shop, "scaled_", source, session="t", seq=1, examples=examples)["selector"] == "scaled_"
    assert one.send(shop, "scaled_", kwargs={"a": 1, "by": 5}) == 20
    error = offer(one, shop, "other_", source.replace("scaled_", "other_"), session="t", seq=2, examples=[Example(8, [], {"c": 1})])
    assert error.type == "TrialFailed" and "takes (a, by)" in error.message


def test_an_offer_of_the_name_of_a_data_slot_is_refused_and_the_value_stays(house):
    one = house()
    shop = make_shop(one)
    error = offer(one, shop, "cost", "def cost(self):\n    return 1\n", session="t", seq=1)
    assert error.type == "NotAllowed" and "removeSlot_" in error.remedy
    assert one.send(shop, "cost") == 4


@pytest.mark.parametrize("name", ["é", "a-b", "1a", "", "a" * 129, "_x", "parent*", "x\ny = 1", "ａ"])
def test_a_slot_is_named_as_a_selector_can_be_sent(house, name):
    one = house()
    shop = make_shop(one)
    assert one.send(shop, "setSlot_value_", name, 1).type == "NotAllowed"


def test_a_slot_of_an_earlier_version_with_letters_of_another_alphabet_can_be_read_and_removed(house):
    one = house()
    shop = make_shop(one)
    one.image.manager.begin()
    one.image.at(shop).put("é", 5)
    one.image.manager.commit()
    assert one.send(shop, "slot_", "é") == 5
    assert one.send(shop, "respondsTo_", "é") is True
    one.send(shop, "removeSlot_", "é")
    assert one.send(shop, "respondsTo_", "é") is False


@pytest.mark.parametrize("look", ["stage", "owner", "drafts", "slotNames()", "clone().stage", "slot_('stage')", "selector", "call"])
def test_a_method_sees_nothing_of_what_becomes_of_the_message_it_is_written_for(house, look):
    one = house(spy=["    return self.cost / 0"])
    shop = make_shop(one)
    one.send(shop, "setSlot_value_", "watched", None)
    message = one.send(shop, "spy").details["message"]
    one.image.manager.begin()
    one.image.at(shop).put("watched", one.image.at(Reference.parse(message)))
    one.image.manager.commit()
    body = f"    try:\n        return self.watched.{look}\n    except Exception as error:\n        return f'{{error}}'"
    one.model.bodies["spy"] = [body]
    seen = one.send(shop, "spy")
    assert not isinstance(seen, ImageError), seen.message
    told = one.send(shop, "explain_", "spy")["proof"]
    assert told["message"] == message and told["trial"]["result"] == seen


def test_when_all_drafts_fail_the_next_ones_do_without_what_those_read(house):
    one = house(worth=["    return self.cost * self.tags * 1.5"])
    shop = make_shop(one)

    def without_tags(generate, seconds, done, told=None):
        one.model.asked.append(generate)
        body = (
            "    return self.cost * self.tags * 1.5"
            if '"tags"' in generate.grammar.split("slot ::=")[1].split("\n")[0]
            else "    return self.cost"
        )
        done(Completed(generate.id, [Output(body, 10, -0.1, "stop") for _ in generate.samplings], 100, 0.0, 0.1))

    one.model.ask = without_tags
    assert one.send(shop, "worth") == 4
    drafts = one.send(shop, "explain_", "worth")["proof"]["drafts"]
    assert [draft["outcome"] for draft in drafts] == ["TypeError", "ok"]


def test_what_a_draft_needs_is_written_with_the_rights_of_who_sent_the_message(house):
    """And so not on an object that only the right policy changes."""
    one = house(total=["    return self.mind.unheard_of()"], unheard_of=["    return 5"])
    shop = make_shop(one)
    mind = one.looked(lambda: one.image.reference(one.image.named("pLLM_obj")))
    one.send(shop, "setSlot_value_", "mind", mind)
    delivery = one.bench.delivery(shop, "total")
    delivery.rights = frozenset({"read", "send"})
    (outcome,) = one.bench.run(delivery)
    error = one.write(outcome)
    assert error is not None and "primordial" in str(error.details["reasons"]), error
    assert one.looked(lambda: one.image.named("pLLM_obj").own("unheard_of")) is ABSENT
