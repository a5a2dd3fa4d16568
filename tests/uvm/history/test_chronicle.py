"""The chronicle: what mattered is written down in the transaction that does it, in books of bounded size that a pack keeps."""

import time

import pytest
from ZODB.MappingStorage import MappingStorage

from tests.uvm.images import Bench, awakened
from uvm.history import chronicle
from uvm.image import pages
from uvm.image.image import Database, Image
from uvm.machine.delivery import Answered
from uvm.objects import ABSENT
from uvm.protocol import decode_value


@pytest.fixture
def bench():
    with awakened(Database(MappingStorage())) as image:
        yield Bench(image)


def entries(image, writer="uvm-1"):
    image.manager.begin()
    head = image.shard("chronicle", writer).own(writer)
    entry = [located.entry for located in pages.newest_first(head)] if head is not ABSENT else []
    image.manager.abort()
    return entry


def test_what_is_rolled_back_never_happened(bench):
    bench.image.manager.begin()
    chronicle.record(bench.image, "import", author="local", facts={"from": "there"})
    bench.image.manager.abort()
    assert entries(bench.image) == []
    bench.image.manager.begin()
    chronicle.record(bench.image, "import", author="local", object=bench.image.named("pLLM_obj"), facts={"from": "there"})
    bench.image.manager.commit()
    (entry,) = entries(bench.image)
    assert entry["kind"] == "import" and entry["facts"] == {"from": "there"} and entry["object"].own("name") == "pLLM_obj"


def test_a_removal_is_chronicled_with_its_principal_and_message_and_an_ordinary_write_is_not(bench):
    twin = decode_value(bench.send("genesis_obj", "clone").result)
    bench.install(twin, "sing", "def sing(self):\n    return 1\n")
    bench.send(twin, "setSlot_value_", "n", 1)
    assert entries(bench.image) == []
    assert isinstance(bench.send(twin, "removeSlot_", "sing", session="s", seq=4), Answered)
    (entry,) = entries(bench.image)
    assert (entry["kind"], entry["author"], entry["cause"], entry["slot"]) == ("removal", "local", "s/4", "sing")
    assert entry["method"].own("source").startswith("def sing") and entry["object"]._p_oid == twin.oid


def test_a_message_that_fails_leaves_nothing_in_the_chronicle(bench):
    twin = decode_value(bench.send("genesis_obj", "clone").result)
    bench.install(twin, "sing", "def sing(self):\n    return 1\n")
    bench.install(twin, "fail", "def fail(self):\n    self.removeSlot_('sing')\n    return 1 / 0\n")
    bench.send(twin, "fail")
    assert entries(bench.image) == []


def test_writers_that_write_at_once_do_not_conflict():
    database = Database(MappingStorage())
    with awakened(database) as first:
        second = Image(database)
        first.writer, second.writer = "uvm-1", "uvm-2"
        for image in (first, second):  # the first entries make the books
            image.manager.begin()
            chronicle.record(image, "import", author="local")
            image.manager.commit()
        for image in (first, second):
            image.manager.begin()
            chronicle.record(image, "import", author="local")
        first.manager.commit()
        second.manager.commit()
        assert len(entries(first, "uvm-1")) == len(entries(second, "uvm-2")) == 2
        second.manager.begin()
        second.manager.abort()
        second.connection.close()


def test_it_is_bounded_and_survives_a_pack(bench, monkeypatch):
    monkeypatch.setattr(chronicle, "PAGES", 3)
    for number in range(200):
        bench.image.manager.begin()
        chronicle.record(bench.image, "import", author="local", facts={"number": number, "text": "x" * 100})
        bench.image.manager.commit()
    before = entries(bench.image)
    assert 10 < len(before) < 60 and before[0]["facts"]["number"] == 199
    bench.image.database.pack(time.time() + 1)
    bench.image.connection.cacheMinimize()
    assert [entry["facts"]["number"] for entry in entries(bench.image)] == [entry["facts"]["number"] for entry in before]


def test_every_entry_knows_its_transaction(bench):
    tids = []
    for number in range(60):
        bench.image.manager.begin()
        for number_within in range(1 + number % 3):
            chronicle.record(bench.image, "import", author="local", facts={"number": number, "part": number_within})
        bench.image.manager.commit()
        tids.append(bench.image.database.storage.lastTransaction())
    bench.image.manager.begin()
    head = bench.image.shard("chronicle", "uvm-1").own("uvm-1")
    for located in pages.newest_first(head):
        assert located.tid == tids[located.entry["facts"]["number"]]
        assert pages.at(head, located.position) == located
    for number, tid in enumerate(tids):
        newest = next(pages.newest_first(head, pages.end_of(head, tid)))
        assert newest.entry["facts"] == {"number": number, "part": number % 3}
    assert list(pages.newest_first(head, pages.end_of(head, bytes(8)))) == []
