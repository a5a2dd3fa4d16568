"""What a message writes is in proportion to what it touches; kernel tables merge, split and are read in their earlier forms."""

import pytest
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError

from tests.uvm.images import Bench, awakened
from uvm.awakening.renewal import renew
from uvm.errors import Expired, PayloadMismatch
from uvm.image import tables
from uvm.image.image import Database, Image
from uvm.image.journal import Journal, tallies
from uvm.image.large import LARGE, loaded, stored, weight
from uvm.image.receipts import PAGE, Ledger
from uvm.machine.delivery import Answered
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import decode_value

BIG = "x" * 300_000


class Stored(Bench):
    """A bench on a file, whose growth is what was written."""

    def __init__(self, image, path):
        super().__init__(image)
        self.path = path
        self.small = self.answer("genesis_obj", "clone")
        self.numbered = 0

    def answer(self, *message, **options):
        outcome = self.send(*message, **options)
        assert isinstance(outcome, Answered), outcome.error.message
        return decode_value(outcome.result)

    def written(self, write, times=64):
        """Mean bytes of a message."""
        before = self.path.stat().st_size
        for _ in range(times):
            self.numbered += 1
            write(self.numbered)
        return (self.path.stat().st_size - before) / times

    def small_write(self, number):
        self.answer(self.small, "setSlot_value_", "n", number, session="small", seq=number, floor=number - 1)

    def new_session(self, number):
        self.answer(self.small, "setSlot_value_", "n", number, session=f"new-{number}", seq=1)

    def new_name(self, number):
        self.answer(self.answer("genesis_obj", "clone"), "nameAs_", f"thing {number}")


@pytest.fixture
def database(tmp_path):
    return Database(FileStorage(str(tmp_path / "image.fs")))


@pytest.fixture
def bench(database, tmp_path):
    with awakened(database) as image:
        yield Stored(image, tmp_path / "image.fs")


def test_what_others_wrote_before_makes_no_message_larger(bench):
    writes = (bench.small_write, bench.new_session, bench.new_name)
    fresh = [bench.written(write, 32) for write in writes]
    for number in range(150):
        bench.new_session(f"many-{number}")
    for number in range(60):
        bench.new_name(f"many {number}")
    large = bench.answer("genesis_obj", "clone")
    for number in range(12):
        bench.answer(large, "setSlot_value_", "text", f"{number}{BIG}", session="large", seq=number + 1)
        bench.answer(large, "setSlot_value_", "numbers", [number] * 50_000, session="large", seq=number + 101)
    later = [bench.written(write, 32) for write in writes]
    assert all(after < 1.5 * before for before, after in zip(fresh, later, strict=True)), (fresh, later)


def test_a_session_begins_with_few_bytes(bench):
    without = bench.written(lambda number: bench.answer(bench.small, "setSlot_value_", "n", number))
    assert bench.written(bench.new_session, 256) - without < 900


def test_large_results_are_answered_again_and_not_written_again(bench):
    bench.install("genesis_obj", "long_", "def long_(self, a):\n    self.last = a\n    return 'x' * a\n", 1)
    first = [bench.answer("genesis_obj", "long_", 100_000 + number, session="s", seq=number) for number in range(1, 5)]
    again = [bench.answer("genesis_obj", "long_", 100_000 + number, session="s", seq=number) for number in range(1, 5)]
    assert first == again and len(again[3]) == 100_004
    assert bench.written(lambda number: bench.answer(bench.small, "setSlot_value_", "n", number, session="s", seq=number + 10)) < 10_000


def test_the_value_before_is_kept_however_large_it_was(bench):
    bench.answer(bench.small, "setSlot_value_", "text", BIG)
    bench.answer(bench.small, "setSlot_value_", "text", "short")
    bench.answer(bench.small, "setSlot_value_", "text", "shorter")
    bench.image.manager.begin()
    newest, older, oldest = [entry["effects"][0][2:4] for entry in Journal(bench.image, "uvm-1").entries()][:3]
    assert (newest, [older[0], loaded(older[1])], oldest) == ([True, "short"], [True, BIG], [False, None])
    bench.image.manager.abort()


def test_weight_is_about_what_a_record_takes_and_looking_stops_early():
    assert weight("x" * 1000, 10**6) >= 1000 and weight([1] * 1000, 10**6) >= 1000 and weight({"k" * 500: "v" * 500}, 10**6) >= 1000
    assert weight([[0] * 10] * 10**6, 100) < 20_000_000
    assert stored("x" * LARGE * 2).own(KIND) == "value" and stored("x") == "x" and loaded(stored(BIG)) == BIG


# --- receipts ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(bench):
    bench.image.manager.begin()
    yield Ledger(bench.image)
    bench.image.manager.abort()


def look(ledger, seq, digest=b"d"):
    receipt = ledger.look("local", "s", seq, digest)
    return None if receipt is None else receipt.result


def test_a_tool_that_sends_one_after_the_other_keeps_the_newest_receipt_alone(ledger):
    for seq in range(1, 5):
        ledger.record("local", "s", seq, b"d", b"%d" % seq, seq - 1)
    assert look(ledger, 4) == b"4" and look(ledger, 5) is None and ledger.sessions() == 1
    with pytest.raises(Expired):
        look(ledger, 3)
    with pytest.raises(PayloadMismatch):
        look(ledger, 4, b"other")


def test_receipts_above_the_floor_are_all_kept_and_those_below_expire(ledger):
    numbers = [3, 1, 2, PAGE, PAGE * 2 + 5, PAGE + 1]
    for seq in numbers:
        ledger.record("local", "s", seq, b"d", b"%d" % seq, 0)
    assert [look(ledger, seq) for seq in numbers] == [b"%d" % seq for seq in numbers]
    ledger.record("local", "s", PAGE * 2 + 6, b"d", b"new", PAGE + 1)
    for seq in (1, 2, 3, PAGE, PAGE + 1):
        with pytest.raises(Expired):
            look(ledger, seq)
    assert look(ledger, PAGE * 2 + 5) == b"%d" % (PAGE * 2 + 5) and look(ledger, PAGE * 2 + 6) == b"new"


def test_a_floor_never_falls(ledger):
    ledger.record("local", "s", 10, b"d", b"", 9)
    ledger.record("local", "s", 12, b"d", b"", 3)
    with pytest.raises(Expired):
        look(ledger, 9)


def test_sessions_of_both_forms_expire(ledger):
    for session in ("s", "t"):
        ledger.record("local", session, 1, b"d", b"", 0)
    ledger.record("local", "t", 2, b"d", b"", 0)
    assert ledger.expire(0) == 0 and ledger.sessions() == 2
    assert ledger.expire(2**40) == 2 and ledger.sessions() == 0 and look(ledger, 1) is None


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_keeps_every_record_however_many_there_are(bench):
    table = tables.new("test")
    for number in range(3000):
        tables.enter(table, f"key {number}", number)
        tables.enter(table, f"key {number}", -number)
    assert all(tables.leaf(table, f"key {number}").own(f"key {number}") == -number for number in range(3000))
    records = [len(leaf.names()) for leaf in tables.leaves(table)]
    assert sum(records) == 3000 and max(records) <= tables.FULL


@pytest.mark.parametrize("records", [0, tables.FULL - 1, tables.FULL, 3 * tables.FULL], ids=["empty", "last", "full", "split"])
@pytest.mark.parametrize("same", [False, True], ids=["different keys", "the same key"])
def test_two_processes_that_enter_records_at_once_lose_none_and_double_none(database, records, same):
    keys = [key for key in (f"key {number}" for number in range(20_000)) if tables.leaf_number(key) == 0][: records + 2]
    with awakened(database) as here:
        here.manager.begin()
        for key in keys[:records]:
            here.enter("library", key, key)
        here.manager.commit()
        there = Image(database)
        here.manager.begin()
        there.manager.begin()
        here.enter("library", keys[records], "here")
        key_there = keys[records if same else records + 1]
        there.enter("library", key_there, "there")
        here.manager.commit()
        try:
            there.manager.commit()
            conflict = False
        except ConflictError:
            there.manager.abort()
            conflict = True
            there.manager.begin()
            if there.shard("library", key_there).own(key_there) is ABSENT:
                there.enter("library", key_there, "there")
            there.manager.commit()
        assert conflict or not same
        here.manager.begin()
        records_there = {key: here.shard("library", key).own(key) for key in keys[: records + 2]}
        expected = {key: key for key in keys[:records]} | {keys[records]: "here"} | ({} if same else {key_there: "there"})
        assert {key: value for key, value in records_there.items() if value is not ABSENT} == expected
        there.connection.close()


# --- images of earlier versions ---------------------------------------------------------------------------------------


def test_tables_journals_and_receipts_of_earlier_versions_are_read_and_go_on(bench):
    image = bench.image
    image.manager.begin()
    for number in range(200):
        key = f"local/old-{number}"
        page = UvmObject({KIND: "receipts", "1": [b"d", b"was"]})
        image.shard("receipts", key).put(key, UvmObject({KIND: "session", "floor": 0, "seen": 1, "page:0": page}))
    head = image.shard("journals", "uvm-9").own("uvm-9")
    assert head is ABSENT
    pages = [UvmObject({KIND: "journal", "entries": [{"selector": f"s{number}", "effects": []}]}) for number in range(3)]
    image.shard("journals", "uvm-9").put("uvm-9", UvmObject({KIND: "journal", "batch": "b", "pages": pages, "tally": {"clone": 7}}))
    image.manager.commit()
    image.manager.begin()
    ledger, journal, counted = Ledger(image), Journal(image, "uvm-9"), tallies(image)["clone"]
    assert [entry["selector"] for entry in journal.entries()] == ["s2", "s1", "s0"] and journal.batch == "b"
    for number in range(200):
        assert ledger.look("local", f"old-{number}", 1, b"d").result == b"was"
        ledger.record("local", f"old-{number}", 2, b"d", b"new", 0)
        ledger.record("local", f"young-{number}", 1, b"d", b"new", 0)
    journal.record([{"selector": "s3", "effects": []}])
    journal.mark("c", {"clone": 2})
    image.manager.commit()
    image.manager.begin()
    assert all(ledger.look("local", f"old-{number}", seq, b"d") for number in range(200) for seq in (1, 2))
    assert all(ledger.look("local", f"young-{number}", 1, b"d") for number in range(200))
    assert [entry["selector"] for entry in journal.entries()] == ["s3", "s2", "s1", "s0"] and journal.batch == "c"
    assert tallies(image)["clone"] == counted + 2
    image.manager.abort()


def test_genesis_of_an_earlier_version_lists_every_name_after_the_awakening(bench):
    image = bench.image
    image.manager.begin()
    image.named("genesis_obj").put("objects", [image.named("traits_obj")])
    image.manager.commit()
    image.manager.begin()
    renew(image)
    image.manager.commit()
    bench.answer(bench.small, "nameAs_", "shop")
    assert bench.small in bench.answer("genesis_obj", "objects")


def test_the_named_objects_are_listed_once_each_and_shown_in_prompts_as_data(bench):
    for name in ("shop", "also shop"):
        bench.answer(bench.small, "nameAs_", name)
    listed = bench.answer("genesis_obj", "objects")
    assert listed.count(bench.small) == 1 and len(listed) == 10
    bench.answer(bench.small, "forgetName_", "shop")
    assert bench.small in bench.answer("genesis_obj", "objects")
    bench.answer(bench.small, "forgetName_", "also shop")
    assert bench.small not in bench.answer("genesis_obj", "objects")
    assert "\nobjects = [<object>, …]\n" in bench.send("genesis_obj", "sing").plan["prompt"]
