"""The heartbeat: what it measures, and that only the newest one writes."""

import math
import time

import pytest

from deploy.settings import Configuration, Home, Settings
from inference_worker.protocol import Output
from tests.uvm.images import Bench, awakened, new_database
from uvm.generation.learning import Learner
from uvm.heartbeat.heartbeat import Fenced, Heartbeat
from uvm.image import model_registry, nursery
from uvm.image.entropy import shannon, since
from uvm.image.image import Image
from uvm.image.receipts import Ledger
from uvm.image.tables import SHARDS
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Answered
from uvm.objects import KIND, UvmObject
from uvm.protocol import decode_value


def test_entropy_is_zero_for_one_kind_and_log_of_the_count_for_equal_shares():
    assert shannon({}) == shannon({"a": 9}) == 0.0
    assert shannon({"a": 5, "b": 5, "c": 5, "d": 5}) == pytest.approx(2.0)


def test_only_what_came_since_the_last_measurement_counts():
    assert since({"a": 5, "b": 2}, {"a": 5, "b": 1}) == {"b": 1}


@pytest.fixture
def homes(tmp_path):
    home = Home(tmp_path)
    home.ensure()
    return Configuration(home, Settings(), {})


def test_a_beat_writes_down_the_entropy_of_the_selectors_sent(homes):
    with awakened() as image:
        bench = Bench(image)
        heart = Heartbeat(homes, image)
        heart.beat()
        for number in range(4):
            bench.send("genesis_obj", "setSlot_value_", "n", number)
            bench.send("genesis_obj", "slotNames")
        bench.send("genesis_obj", "setSlot_value_", "n", 9)
        measured = heart.beat()
        assert measured["messages"] == 9 and measured["selectors"] == 2
        assert measured["selector_entropy"] == pytest.approx(shannon({"set": 5, "names": 4}), abs=1e-5)
        image.manager.begin()
        assert image.named("heartbeat_obj").own("last")["at"] == measured["at"]
        image.manager.abort()


def test_a_beat_measures_the_personas_and_the_models_tokens_since_the_one_before(homes):
    with awakened() as image:
        learner = Learner(image, Transactor(image, "uvm-1"), "uvm-1")
        heart = Heartbeat(homes, image)
        learner.wrote("robin", [Output("a", 9, -1.0, "stop", [-9.0] * 9)])
        learner.tick(1.0)
        heart.beat()
        for persona in ("brick", "babs"):
            learner.wrote(persona, [Output("ab", 2, math.log(0.25), "stop", [math.log(0.5), math.log(0.125)])])
        learner.tick(2.0)
        measured = heart.beat()
        assert measured["persona_entropy"] == pytest.approx(1.0) and measured["drafts"] == 2
        assert measured["token_entropy"] == pytest.approx(2.0) and measured["tokens"] == 4 and measured["hesitant_tokens"] == 2
        assert heart.beat()["tokens"] == 0


@pytest.mark.parametrize("jump", [-(10**8), 10**8], ids=["back", "ahead"])
def test_a_clock_that_jumps_ends_no_receipt_and_no_lease(homes, monkeypatch, jump):
    with awakened() as image:
        bench, heart = Bench(image), Heartbeat(homes, image)
        heart.beat()
        first = bench.send("genesis_obj", "clone", session="s", seq=1)
        wall = time.time
        monkeypatch.setattr(time, "time", lambda: wall() + jump)
        second = bench.send("genesis_obj", "clone", session="t", seq=1)
        for _ in range(SHARDS):
            heart.beat()
        monkeypatch.undo()
        heart.beat()
        image.database.pack()
        for session, outcome in (("s", first), ("t", second)):
            assert bench.send("genesis_obj", "clone", session=session, seq=1).result == outcome.result
            assert isinstance(bench.send(decode_value(outcome.result), "name"), Answered)


def test_receipts_and_leases_end_when_their_time_has_passed(homes, monkeypatch):
    with awakened() as image:
        bench, heart = Bench(image), Heartbeat(homes, image)
        heart.beat()
        clone = decode_value(bench.send("genesis_obj", "clone", session="s", seq=1).result)
        passed = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: passed() + 8 * 86_400)
        for _ in range(SHARDS):
            heart.beat()
        monkeypatch.undo()
        image.manager.begin()
        assert Ledger(image).sessions() == 0 and nursery.release(image, [clone.oid]) == 0
        image.manager.abort()


def test_an_older_heartbeat_is_fenced_out(homes):
    database = new_database()
    with awakened(database) as here:
        old = Heartbeat(homes, here)
        there = Image(database)
        Heartbeat(homes, there)
        with pytest.raises(Fenced):
            old.beat()
        there.connection.close()


def test_files_that_no_object_names_are_swept_when_no_request_can_be_under_way_with_them(homes, monkeypatch):
    (homes.home.models / ("a" * 64)).mkdir()
    with awakened() as image:
        heart = Heartbeat(homes, image)
        heart.beat()
        assert list(homes.home.models.iterdir()) != []
        later = time.monotonic() + homes.settings.uvm.generation_deadline_s + 1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        heart.beat()
    assert list(homes.home.models.iterdir()) == []


def test_files_of_an_adapter_that_the_image_keeps_stay_though_nobody_uses_it(homes, monkeypatch):
    (homes.home.adapters / ("b" * 64)).mkdir()
    with awakened() as image:
        image.manager.begin()
        model_registry.enter(image, "adapter", UvmObject({KIND: "adapter", "digest": "b" * 64, "name": "kept", "blobs": {}}))
        image.manager.commit()
        heart = Heartbeat(homes, image)
        heart.beat()
        later = time.monotonic() + 100 * homes.settings.uvm.generation_deadline_s
        monkeypatch.setattr(time, "monotonic", lambda: later)
        heart.beat()
    assert [path.name for path in homes.home.adapters.iterdir()] == ["b" * 64]
