"""Records that are not ours: nothing that they name runs, and no process ends because of one."""

import io
import pickle
import zlib
from pathlib import Path

import msgspec
import pytest
import transaction
from ZODB.broken import find_global
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import p64

from deploy.settings import Configuration, Home, Settings
from tests.uvm.images import Bench, awakened
from uvm.heartbeat.heartbeat import Heartbeat
from uvm.image import codex
from uvm.image.image import Database
from uvm.machine.delivery import Answered, Failed
from uvm.objects import UvmObject
from uvm.protocol import Reference, decode_request, decode_value

OURS = b"cuvm.objects\nUvmObject\nq\x01."
"""The class part of a record."""

ran: list[str] = []


def detonate(text="ran"):
    """What no record may call."""
    ran.append(text)


class Bomb:
    def __reduce__(self):
        return detonate, ("ran",)


def bomb():
    packer = zlib.compressobj()
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])


BOMB = bomb()


def state(slots):
    return pickle.dumps({"_slots": slots}, 3)


def as_class(value):
    out = io.BytesIO()
    pickle.Pickler(out, 3).dump(value)
    return out.getvalue() + pickle.dumps({"_slots": {}}, 3)


HOSTILE = {
    "class part calls exec": b"c__builtin__\nexec\n(X\x0f\x00\x00\x00raise SystemExit}tR." + state({}),
    "class part is a pair that names a function": as_class((("builtins", "exec"), ("raise SystemExit",))),
    "class part calls ours": as_class(Bomb()),
    "state calls ours": OURS + pickle.dumps({"_slots": {"a": Bomb()}}, 3),
    "state names os.system": OURS + b"cposix\nsystem\n.",
    "class is a list": as_class([1]),
    "class is nothing": as_class(None),
    "state is no dict": OURS + pickle.dumps([1, 2], 3),
    "state has no slots": OURS + pickle.dumps({"x": 1}, 3),
    "slots are a number": OURS + pickle.dumps({"_slots": 5}, 3),
    "state shadows a method": OURS + pickle.dumps({"_slots": {}, "lookup": 5}, 3),
    "parents are a text": OURS + state({"parent*": "traits_obj"}),
    "slot named by a number": OURS + state({5: 5}),
    "a slot is a set": OURS + state({"tags": {1, 2}}),
    "a vector that unpacks to a gigabyte": OURS
    + b"\x80\x03}X\x06\x00\x00\x00_slots}X\x01\x00\x00\x00vcuvm.objects\nMergingVector\n"
    + pickle.dumps((0, BOMB), 3)[2:-1]
    + b"Rss.",
    "a vector of many numbers": OURS
    + b"\x80\x03}X\x06\x00\x00\x00_slots}X\x01\x00\x00\x00vcuvm.objects\nMergingVector\n"
    + pickle.dumps((2**40, b""), 3)[2:-1]
    + b"Rss.",
    "cut off": OURS + state({"a": "b"})[:-4],
    "empty": b"",
    "noise": b"\x00\xff" * 40,
    "more bytes than there are": OURS + b"\x80\x03B\xff\xff\xff\x7f.",
}


@pytest.fixture
def tampered():
    """An image on whose storage a record can be placed past everything."""
    storage = MappingStorage()
    with awakened(Database(storage)) as image:
        bench = Bench(image)
        victim = decode_value(bench.send("genesis_obj", "clone").result)
        decode_value(bench.send(victim, "nameAs_", "victim").result)

        def tamper(record, oid=victim.oid):
            change = transaction.Transaction()
            storage.tpc_begin(change)
            storage.store(oid, storage.load(oid)[1], record, "", change)
            storage.tpc_vote(change)
            storage.tpc_finish(change)
            image.connection.cacheMinimize()
            image.connection._cache.full_sweep()
            image.connection._resetCache()

        ran.clear()
        yield bench, victim, tamper


def test_the_connection_that_the_constructor_pools_obeys_the_list_of_classes():
    database = Database(None)
    connection = database.open()
    for name in ("uvm.objects.UvmObject", "builtins.exec"):
        module, _, kind = name.rpartition(".")
        if module == "builtins":
            with pytest.raises(Exception, match="does not store"):
                connection._reader._get_class(module, kind)
        else:
            assert connection._reader._get_class(module, kind) is UvmObject
    connection.close()
    database.close()
    assert find_global("builtins", "exec") is exec, "ZODB's own factory, for comparison, finds it"


def test_every_database_that_the_product_opens_is_the_one_with_the_list():
    sources = [path for folder in ("uvm", "zeo_server", "ui_client") for path in Path(folder).rglob("*.py")]
    assert [str(path) for path in sources if "ZODB.DB(" in path.read_text() or "import DB" in path.read_text()] == []


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
def test_a_foreign_record_runs_nothing_and_fails_only_the_message_that_reads_it(tampered, record):
    bench, victim, tamper = tampered
    tamper(record)
    outcomes = bench.run(
        bench.delivery("genesis_obj", "setSlot_value_", "before", 1),
        bench.delivery(victim, "name"),
        bench.delivery("victim", "setSlot_value_", "x", 1),
        bench.delivery("genesis_obj", "setSlot_value_", "after", 2),
    )
    assert ran == []
    for outcome in outcomes[1:3]:
        assert isinstance(outcome, Failed), outcome
        assert outcome.error.type in ("DamagedRecord", "NoSuchObject", "NotUnderstood")
        assert str(victim) in outcome.error.message or "victim" in outcome.error.message
    assert [decode_value(bench.send("genesis_obj", slot).result) for slot in ("before", "after")] == [1, 2]


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
def test_house_keeping_goes_on_beside_a_foreign_record(tampered, record, tmp_path):
    bench, _, tamper = tampered
    tamper(record)
    home = Home(tmp_path)
    home.ensure()
    measured = Heartbeat(Configuration(home, Settings(), {}), bench.image).beat()
    assert measured["objects"] >= 8 and ran == []


def test_a_foreign_record_in_the_place_of_the_codex_is_a_broken_codex(tampered):
    bench, _, tamper = tampered
    bench.image.manager.begin()
    oid = bench.image.root["codex"]._p_oid
    bench.image.manager.abort()
    tamper(HOSTILE["class part calls exec"], oid)
    bench.image.manager.begin()
    with pytest.raises(codex.CodexBroken, match="cannot be read"):
        codex.verify(bench.image)
    bench.image.manager.abort()


def test_a_transaction_that_cannot_be_stored_fails_alone_and_the_process_goes_on():
    with awakened() as image:
        bench = Bench(image)
        commit = image.manager.commit
        refused = []

        def commits():
            if image.named("genesis_obj").own("poison", None):
                refused.append(1)
                raise TypeError("cannot pickle that")
            commit()

        image.manager.commit = commits
        good, bad = bench.run(
            bench.delivery("genesis_obj", "setSlot_value_", "colour", "red"),
            bench.delivery("genesis_obj", "setSlot_value_", "poison", True),
        )
        assert isinstance(good, Answered) and len(refused) == 2
        assert isinstance(bad, Failed) and bad.error.type == "KernelFault"
        assert decode_value(bench.send("genesis_obj", "colour").result) == "red"


def test_an_oid_that_is_nothing_is_no_object():
    with awakened() as image:
        outcome = Bench(image).send(Reference(p64(10**9)), "name")
        assert isinstance(outcome, Failed) and outcome.error.type == "NoSuchObject"


@pytest.mark.parametrize("field", ["selector", "session"])
def test_a_line_feed_is_no_part_of_a_name(field):
    fields = {"op": "Send", "id": 1, "target": "x", "selector": "name", "session": "s"}
    decode_request(msgspec.msgpack.encode(fields))
    with pytest.raises(msgspec.ValidationError):
        decode_request(msgspec.msgpack.encode({**fields, field: f"{fields[field]}\n"}))
