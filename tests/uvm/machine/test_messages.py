"""Messages in transactions: what they answer, what they leave behind, and that each is carried out once."""

import pytest
from ZEO.Exceptions import ClientDisconnected

from tests.uvm.images import Bench, awakened, new_database
from uvm.generation.request import MethodRequest
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.machine.batch import BatchUndecided
from uvm.machine.delivery import Answered, Failed
from uvm.objects import ANCESTORS, Counter, UvmObject
from uvm.protocol import Reference, decode_value


@pytest.fixture
def bench():
    with awakened() as image:
        yield Bench(image)


def result(outcome):
    assert isinstance(outcome, Answered), getattr(getattr(outcome, "error", outcome), "message", outcome)
    return decode_value(outcome.result)


def error(outcome):
    assert isinstance(outcome, Failed)
    return outcome.error


def test_a_clone_has_the_slots_and_parents_of_its_prototype(bench):
    twin = result(bench.send("genesis_obj", "clone"))
    assert isinstance(twin, Reference)
    assert result(bench.send(twin, "name")) == "genesis_obj"
    assert result(bench.send(twin, "setSlot_value_", "name", "shop")) == twin
    assert (result(bench.send(twin, "name")), result(bench.send("genesis_obj", "name"))) == ("shop", "genesis_obj")
    assert result(bench.send("genesis_obj", "clones")) == 1


def test_what_a_tool_holds_survives_a_pack_until_it_lets_go(bench):
    twin = result(bench.send("genesis_obj", "clone"))
    bench.image.database.pack()
    assert result(bench.send(twin, "name")) == "genesis_obj"


def test_a_named_object_answers_to_its_name_and_shows_on_the_face(bench):
    twin = result(bench.send("genesis_obj", "clone"))
    result(bench.send(twin, "nameAs_", "shop"))
    assert result(bench.send("shop", "names")) == ["shop"]
    assert twin in result(bench.send("genesis_obj", "objects"))
    assert error(bench.send("genesis_obj", "nameAs_", "shop")).type == "NotAllowed"


def test_a_message_that_fails_rolls_back_alone(bench):
    bench.install("genesis_obj", "spoil", "def spoil(self):\n    self.name = 'spoilt'\n    raise ValueError('no')\n")
    outcomes = bench.run(
        bench.delivery("genesis_obj", "setSlot_value_", "colour", "red"),
        bench.delivery("genesis_obj", "spoil"),
        bench.delivery("genesis_obj", "setSlot_value_", "size", 3),
    )
    assert error(outcomes[1]).type == "MethodFailed"
    assert "ValueError: no" in error(outcomes[1]).message and "line 3" in error(outcomes[1]).message
    assert [result(bench.send("genesis_obj", slot)) for slot in ("name", "colour", "size")] == ["genesis_obj", "red", 3]


def test_an_unmarked_change_in_place_is_remembered(bench):
    result(bench.send("genesis_obj", "setSlot_value_", "tags", ["a"]))
    bench.install("genesis_obj", "tag_", "def tag_(self, a):\n    tags = self.tags\n    tags.append(a)\n    return len(tags)\n", 1)
    assert result(bench.send("genesis_obj", "tag_", "b")) == 2
    with_other_eyes = Image(bench.image.database)
    with_other_eyes.manager.begin()
    assert with_other_eyes.named("genesis_obj").own("tags") == ["a", "b"]
    with_other_eyes.manager.abort()
    with_other_eyes.connection.close()


def test_an_unmarked_change_in_place_does_not_outlive_its_failed_message(bench):
    result(bench.send("genesis_obj", "setSlot_value_", "tags", ["a"]))
    bench.install("genesis_obj", "botch", "def botch(self):\n    self.tags.append('b')\n    raise ValueError('no')\n")
    outcomes = bench.run(bench.delivery("genesis_obj", "botch"), bench.delivery("genesis_obj", "setSlot_value_", "size", 1))
    assert error(outcomes[0]).type == "MethodFailed"
    assert result(bench.send("genesis_obj", "tags")) == ["a"]


def test_a_message_that_only_looks_writes_nothing(bench):
    before = bench.image.database.storage.lastTransaction()
    result(bench.send("genesis_obj", "slotNames", session="s", seq=1))
    assert bench.image.database.storage.lastTransaction() == before


def test_the_same_number_is_carried_out_once_and_answered_again(bench):
    first = bench.send("genesis_obj", "clone", session="s", seq=1)
    again = bench.send("genesis_obj", "clone", session="s", seq=1)
    assert result(first) == result(again)
    assert again.replayed_tid is not None
    assert result(bench.send("genesis_obj", "clones")) == 1


def test_the_same_number_with_another_payload_is_an_error(bench):
    result(bench.send("genesis_obj", "setSlot_value_", "a", 1, session="s", seq=1))
    assert error(bench.send("genesis_obj", "setSlot_value_", "a", 2, session="s", seq=1)).type == "PayloadMismatch"
    assert result(bench.send("genesis_obj", "a")) == 1


def test_below_the_acknowledged_floor_a_number_is_expired(bench):
    result(bench.send("genesis_obj", "clone", session="s", seq=1))
    result(bench.send("genesis_obj", "clone", session="s", seq=2, floor=1))
    assert error(bench.send("genesis_obj", "clone", session="s", seq=1)).type == "Expired"
    assert result(bench.send("genesis_obj", "clones")) == 2


def test_two_processes_that_run_one_message_leave_one_effect():
    database = new_database()
    with awakened(database) as here:
        there = Image(database)
        first, second = Bench(here, "uvm-1"), Bench(there, "uvm-2")
        # Both look before either has written: the second one loses the conflict on the receipt and finds the first's.
        run = first.batch.execution.outcome
        raced = []

        def late(delivery):
            outcome = run(delivery)
            if not raced:
                raced.append(second.send("genesis_obj", "clone", session="s", seq=7))
            return outcome

        first.batch.execution.outcome = late
        mine = first.send("genesis_obj", "clone", session="s", seq=7)
        assert result(mine) == result(raced[0])
        assert result(first.send("genesis_obj", "clones")) == 1
        there.manager.abort() if there.manager._txn else None
        there.connection.close()


def test_counters_of_two_processes_add_up():
    database = new_database()
    with awakened(database) as here:
        there = Image(database)
        for image, bench in ((here, Bench(here, "uvm-1")), (there, Bench(there, "uvm-2"))) * 5:
            assert image.database is database
            result(bench.send("genesis_obj", "clone"))
        here.manager.begin()
        counter = here.named("genesis_obj").own("clones")
        assert type(counter) is Counter and counter.plain() == 10
        here.manager.abort()
        there.connection.close()


@pytest.mark.parametrize(
    ("selector", "args", "kind"),
    [
        ("setSlot_value_", ("_secret", 1), "NotAllowed"),
        ("setSlot_value_", ("parent*", []), "NotAllowed"),
        ("setSlot_value_", ("clone", 1), "NotAllowed"),
        ("setSlot_value_", ("a",), "BadArguments"),
        ("setSlot_value_", ("big", 2**63), None),
        ("removeSlot_", ("nothing",), "NotAllowed"),
        ("name", (1,), "BadArguments"),
        ("explain_", ("name",), "BadArguments"),
        ("perform_", ("slotNames", 3), "BadArguments"),
        ("nameAs_", ("@2a",), "NotAllowed"),
    ],
)
def test_what_is_not_allowed_is_refused_by_type_and_changes_nothing(bench, selector, args, kind):
    outcome = bench.send("genesis_obj", selector, *args)
    assert (error(outcome).type if isinstance(outcome, Failed) else None) == kind


def test_an_object_cannot_become_its_own_ancestor(bench):
    twin = result(bench.send("genesis_obj", "clone"))
    other = result(bench.send("genesis_obj", "clone"))
    result(bench.send(twin, "addParent_", other))
    assert error(bench.send(other, "addParent_", twin)).type == "ParentCycle"


def test_an_object_delegates_to_so_many_others_and_no_more(bench):
    chain = "    for i in range(n):\n        y = self.clone()\n        y.addParent_(x)\n        x = y\n"
    bench.install("genesis_obj", "grow", f"def grow(self, n):\n    x = self.clone()\n{chain}    return len(x.parents())\n", 1)
    assert result(bench.send("genesis_obj", "grow", 200)) > 0
    outcome = error(bench.send("genesis_obj", "grow", ANCESTORS + 10))
    assert (outcome.type, "more than 256" in outcome.message) == ("NotAllowed", True)


def test_two_processes_cannot_close_a_cycle_together():
    database = new_database()
    with awakened(database) as here:
        there = Image(database)
        first, second = Bench(here, "uvm-1"), Bench(there, "uvm-2")
        twin, mate = result(first.send("genesis_obj", "clone")), result(first.send("genesis_obj", "clone"))
        run = first.batch.execution.outcome
        raced = []

        def late(delivery):
            outcome = run(delivery)
            if not raced:
                raced.append(second.send(mate, "addParent_", twin))
            return outcome

        first.batch.execution.outcome = late
        mine = first.send(twin, "addParent_", mate)
        assert result(raced[0]) == mate
        assert error(mine).type == "ParentCycle"
        there.connection.close()


def test_an_endless_loop_ends_in_a_typed_error_and_changes_nothing(bench):
    bench.install("genesis_obj", "spin", "def spin(self):\n    self.name = 'dizzy'\n    while True:\n        pass\n")
    assert error(bench.send("genesis_obj", "spin")).type in ("TicksSpent", "DeadlineExceeded")
    assert result(bench.send("genesis_obj", "name")) == "genesis_obj"


def test_a_method_cannot_catch_the_end_of_its_attempt(bench):
    source = "def hide(self):\n    try:\n        while True:\n            pass\n    except Exception:\n        return 'caught'\n"
    bench.install("genesis_obj", "hide", source)
    assert error(bench.send("genesis_obj", "hide")).type in ("TicksSpent", "DeadlineExceeded")


def test_a_message_nobody_understands_is_set_aside_with_its_prompt(bench):
    outcome = bench.send("genesis_obj", "sing_", 3)
    assert isinstance(outcome, MethodRequest)
    assert outcome.plan["prompt"].endswith("Message: sing_(3)\ndef sing_(self, a):\n")
    assert "name = 'genesis_obj'" in outcome.plan["prompt"]


def test_an_object_may_answer_for_itself_what_it_does_not_understand(bench):
    twin = result(bench.send("genesis_obj", "clone"))
    result(bench.send("genesis_obj", "setSlot_value_", "target", twin))
    source = "def doesNotUnderstand_(self, message):\n    return [message.selector, message.arguments]\n"
    bench.install("genesis_obj", "doesNotUnderstand_", source, 1)
    assert result(bench.send("genesis_obj", "sing_", 3)) == ["sing_", [3]]


def test_what_a_message_reflects_on_can_be_replaced_in_the_image(bench):
    source = "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'mine: ' + message.call})\n"
    bench.install("pLLM_obj", "reflectOn_", source, 1)
    outcome = bench.send("genesis_obj", "sing")
    assert isinstance(outcome, MethodRequest)
    assert outcome.plan["prompt"] == "mine: sing()"


def test_an_object_without_a_mind_in_its_parents_says_so(bench):
    bench.image.manager.begin()
    traits = bench.image.named("traits_obj")
    bench.image.names["plain"] = UvmObject({"parent*": [traits]})
    bench.image.manager.commit()
    assert error(bench.send("plain", "sing")).type == "NotUnderstood"


@pytest.mark.parametrize("value", [None, True, 0, -1, 2**63, 1.5, "x", b"\x00", [1, [2]], {"a": {"b": [None]}}])
def test_values_come_back_as_they_were_stored(bench, value):
    result(bench.send("genesis_obj", "setSlot_value_", "thing", value))
    assert result(bench.send("genesis_obj", "thing")) == value


def test_the_codex_cannot_be_written_by_a_message(bench):
    bench.image.manager.begin()
    oid = Reference(bench.image.root["codex"]._p_oid)
    bench.image.manager.abort()
    outcome = bench.send("genesis_obj", "perform_", "setSlot_value_", [oid, 1])
    assert isinstance(outcome, Failed)
    assert error(bench.send(oid, "setSlot_value_", "content", {})).type in ("NotAllowed", "NotUnderstood")


@pytest.mark.parametrize("happened", [True, False], ids=["it had happened", "it had not"])
def test_a_commit_whose_acknowledgement_was_lost_is_looked_up_and_acts_once(bench, monkeypatch, happened):
    commit = bench.image.manager.commit

    def cut_off():
        monkeypatch.undo()
        if happened:
            commit()
        raise ClientDisconnected("the server went away")

    monkeypatch.setattr(bench.image.manager, "commit", cut_off)
    delivery = bench.delivery("genesis_obj", "clone")
    with pytest.raises(BatchUndecided):
        bench.run(delivery)
    assert isinstance(result(bench.run(delivery)[0]), Reference)
    assert result(bench.send("genesis_obj", "clones")) == 1


def test_a_process_goes_on_when_the_image_is_back(bench):
    Transactor(bench.image, "uvm-1").wait_for_image()
    assert isinstance(result(bench.send("genesis_obj", "clone")), Reference)
