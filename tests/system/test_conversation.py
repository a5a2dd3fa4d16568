"""The first conversation and what a person does next, on the real service with the real model."""

import time

import pytest

from tests.system.conftest import House, new_word
from ui_client import RemoteError

pytestmark = pytest.mark.model


def fields(tree):
    """Names of the fields of a morph tree → their values."""
    found = {tree["name"]: tree["value"]} if tree["morph"] == "field" else {}
    for child in tree.get("children", []):
        found |= fields(child)
    return found


def test_the_first_conversation_tells_its_phases_and_steps_by_name(house: House):
    told = (house.configuration.home.path / "first.txt").read_text()
    phases = ["Prototypal Awakening", "The First Conversation", "In-Memory Autopoiesis", "Functional Validation", "Autotelic Heartbeat"]
    assert [phase for phase in phases if phase in told] == phases
    assert [stage for stage in ("reified", "reflected", "drafted", "audited", "tried", "installed") if stage not in told] == []
    assert "def display_yourself(self):" in told


def test_the_face_shows_live_values_and_changes_with_the_slots(house: House, words):
    tree = house.ask("send", "genesis_obj", "display_yourself")["result"]
    assert tree["morph"] == "column"
    shown = fields(tree)
    inspected = house.ask("inspect", "genesis_obj")
    slots = inspected.get("result", inspected)["slots"]
    live = [name for name in ("born", "purpose", "clones", "methods") if shown.get(name) == slots[name]]
    assert len(live) >= 2, shown
    purpose = new_word(words)
    house.ask("send", "genesis_obj", "setSlot_value_", "purpose", purpose)
    assert purpose in str(house.ask("send", "genesis_obj", "display_yourself"))


def test_a_known_message_is_answered_in_milliseconds_without_the_model(house: House):
    with house.client() as client:
        client.send("genesis_obj", "display_yourself")
        started = time.monotonic()
        for _ in range(20):
            client.send("genesis_obj", "display_yourself")
        assert (time.monotonic() - started) / 20 < 0.5  # a model would take seconds; the benchmark has the figure


def test_a_new_object_learns_what_it_was_never_told(house: House):
    shop = house.ask("send", "genesis_obj", "clone")["result"]["ref"]
    house.ask("send", shop, "setSlot_value_", "price", "2.5")
    house.ask("send", shop, "setSlot_value_", "quantity", "4")
    assert house.ask("send", shop, "total_price") == {"result": 10.0}
    told = house.ask("source", shop, "total_price")
    told = told.get("result", told)
    assert told["source"].startswith("def total_price(self):")
    proof = told["proof"]
    assert "price = 2.5" in proof["prompt"] and proof["drafts"] and proof["trial"]["confined"] is True


def test_a_method_written_through_one_uvm_is_used_through_the_other(house: House, words):
    written = 0
    for _ in range(3):
        noun = new_word(words)
        with house.client() as client:
            thing = client.send("genesis_obj", "clone")
            client.send(thing, "setSlot_value_", f"{noun}_count", 3)
            try:
                assert client.send(thing, f"increment_{noun}_count", via="uvm-1", deadline=120) is not None
            except RemoteError as error:
                assert error.type == "Refused", error
                continue
            before = client.send(thing, f"{noun}_count")
            client.send(thing, f"increment_{noun}_count", via="uvm-2", deadline=5)
            assert client.send(thing, f"{noun}_count") == before + 1 == 5
            written += 1
    assert written >= 1, "the model could not write any of three small methods"


def test_a_missing_method_is_shown_first_and_comes_with_the_message_that_names_what_was_shown(house: House, words):
    for _ in range(3):
        noun = new_word(words)
        selector, slot = f"increment_{noun}_count", f"{noun}_count"
        thing = house.ask("send", "genesis_obj", "clone")["result"]["ref"]
        house.ask("send", thing, "setSlot_value_", slot, "3")
        shown = house.batos("send", thing, selector, "--preview")
        if shown.returncode == 0 and f"{slot}: 3 → 4" in shown.stdout:
            break
        assert shown.returncode == 0 or "Refused" in shown.stderr, shown.stderr
    else:
        pytest.fail("the model could not write any of three small methods")
    assert f"def {selector}(self):" in shown.stderr and "nothing was changed" in shown.stderr
    assert house.ask("send", thing, slot) == {"result": 3}
    assert house.ask("send", thing, "respondsTo_", selector) == {"result": False}
    told = house.ask("send", thing, selector, "--preview")["result"]
    assert (told["slots"][0]["before"], told["slots"][0]["after"]) == (3, 4)
    accept = f"batos send {thing} {selector} --accept {told['accept']}"
    assert accept in shown.stderr, "what was shown is shown again, and the command that accepts it stands there"
    refused = house.batos("send", thing, f"{selector}_twice", "--accept", told["accept"])
    assert refused.returncode == 1 and "PreviewGone" in refused.stderr
    accepted = house.batos(*accept.split()[1:])
    assert accepted.returncode == 0, accepted.stderr
    assert house.ask("send", thing, slot) == {"result": 4}
    known = house.ask("source", thing, selector)
    known = known.get("result", known)
    assert known["source"] == told["method"]["source"] and known["proof"]["trial"]["confined"] is True
    again = house.batos(*accept.split()[1:])
    assert again.returncode == 1 and "send the message without accept" in " ".join(again.stderr.split())


def test_what_decides_can_be_replaced_by_messages_and_every_process_obeys(house: House, words):
    noun = new_word(words)
    reflect = (
        "def reflectOn_(self, message):\n"
        f"    return message.beWritten_({{'prompt': 'Write {noun}:\\n' + message.signature + '\\n', 'drafts': 1, 'max_tokens': 16}})\n"
    )
    choose = "def chooseFrom_(self, candidates):\n    return None\n"
    with house.client() as client:
        one = client.send("genesis_obj", "clone")
        mine = {selector: client.send("pLLM_obj", "explain_", selector)["source"] for selector in ("reflectOn_", "chooseFrom_")}
        try:
            client.create_method("pLLM_obj", "reflectOn_", reflect)
            client.create_method("pLLM_obj", "chooseFrom_", choose)
            for uvm in ("uvm-1", "uvm-2"):
                with pytest.raises(RemoteError) as refused:
                    client.send(one, f"make_{new_word(words)}", via=uvm, deadline=120)
                assert refused.value.type == "Refused"
                message = client.inspect(refused.value.details["message"])
                assert noun in message.slots["plan"]["prompt"]
        finally:
            for selector, source in mine.items():
                client.create_method("pLLM_obj", selector, source)


def test_an_endless_method_ends_in_a_typed_error(house: House):
    with house.client() as client:
        one = client.send("genesis_obj", "clone")
        with pytest.raises(RemoteError) as refused:
            client.create_method(one, "spin", "def spin(self):\n    while True:\n        pass\n")
        assert refused.value.type == "TrialFailed"
        # Which number it spins for, no trial finds out.
        source = "def spin_(self, a):\n    while a * a % 10007 == 6699:\n        pass\n    return a\n"
        client.create_method(one, "spin_", source, examples=[{"args": [1], "result": 1}])
        with pytest.raises(RemoteError) as ended:
            client.send(one, "spin_", 7919)
        assert ended.value.type in ("TicksSpent", "DeadlineExceeded")
        assert client.send(one, "name") == "genesis_obj"


def test_the_heartbeat_measures_the_selectors(house: House):
    with house.client() as client:
        last = client.send("heartbeat_obj", "last")
        assert last["token"] >= 1 and last["selector_entropy"] >= 0


def test_a_second_up_finds_the_image_and_writes_nothing(house: House):
    before = house.ask("send", "genesis_obj", "methods")
    again = house.batos("up", "--converse")
    assert again.returncode == 0, again.stdout + again.stderr
    assert house.ask("send", "genesis_obj", "methods") == before
