"""Pages of history and differences: newest first over all journals and the chronicle, exact where a page ends, honest where a pack was."""

import time

import pytest
from ZODB.FileStorage import FileStorage

from tests.uvm.history.past import Past
from tests.uvm.images import awakened
from uvm.image.image import Database, Image
from uvm.machine.delivery import Delivery, Failed
from uvm.protocol import Reference, Result, Step, Transaction, encode


@pytest.fixture
def two(tmp_path):
    """Two processes on one image."""
    with awakened(Database(FileStorage(str(tmp_path / "image.fs")))) as image:
        second = Image(image.database)
        yield Past(image), Past(second, "uvm-2")
        second.manager.begin()
        second.manager.abort()
        second.connection.close()


def pages(past, limit, **options):
    before = ""
    while True:
        page = past.do("genesis_obj", "recent_", before=before, limit=limit, **options)
        yield from page["entries"]
        before = page["next"]
        if not before:
            return


def test_what_several_processes_did_is_one_story_with_transactions_in_order_however_it_is_paged(two):
    shop = two[0].do("genesis_obj", "clone")
    two[0].do(shop, "nameAs_", "shop")
    two[0].install("shop", "sing", "def sing(self):\n    return 1\n")
    written = []
    for number in range(120):
        past = two[number % 3 == 0]
        past.do("shop", "setSlot_value_", f"s{number % 7}", number)
        written.append((past.tid.hex(), past.seq))
    two[1].do("shop", "removeSlot_", "sing")
    whole = two[0].do("genesis_obj", "recent_", limit=200)["entries"]
    assert [(entry["tid"], entry["seq"]) for entry in whole if entry.get("selector") == "setSlot_value_"] == written[::-1]
    assert [entry["tid"] for entry in whole] == sorted((entry["tid"] for entry in whole), reverse=True)
    for limit in (1, 7, 50):
        assert list(pages(two[1], limit)) == whole
    assert [entry["kind"] for entry in pages(two[0], 3, chronicle=True)] == ["removal"]


def test_a_page_is_resumed_where_it_ended_also_while_others_write(two):
    shop = two[0].do("genesis_obj", "clone")
    for number in range(30):
        two[0].do(shop, "setSlot_value_", "n", number)
    first = two[0].do(shop, "history_", "n", limit=10)
    two[1].do(shop, "setSlot_value_", "n", 99)
    second = two[0].do(shop, "history_", "n", first["next"], 10)
    shown = [entry["changes"][0]["after"] for entry in first["entries"] + second["entries"]]
    assert shown == list(range(29, 9, -1))


def test_history_survives_a_pack_and_a_difference_before_it_is_a_typed_error(two):
    past = two[0]
    shop = past.do("genesis_obj", "clone")
    past.do(shop, "nameAs_", "shop")
    tids = []
    for number in range(3):
        past.do("shop", "setSlot_value_", "price", number)
        tids.append(past.tid.hex())
    assert past.do("shop", "diff_", tids[0], tids[2]) == [{"slot": "price", "before": 0, "after": 2}]
    before = past.do("shop", "history_")
    past.image.database.pack(time.time() + 1)
    assert past.do("shop", "history_") == before
    error = past.ask("shop", "diff_", tids[0], tids[2])
    assert error.type == "Expired" and tids[2] in error.remedy
    past.undo(before["entries"][0]["entry"])
    assert past.do("shop", "price") == 1


@pytest.mark.parametrize(
    ("first", "kind"), [("f" * 16, "BadArguments"), ("xyz", "BadArguments"), (5, "BadArguments"), ("0" * 16, "Expired")]
)
def test_what_is_no_transaction_of_the_object_is_told(two, first, kind):
    past = two[0]
    shop = past.do("genesis_obj", "clone")
    past.do(shop, "setSlot_value_", "price", 1)
    assert past.ask(shop, "diff_", first, past.tid.hex()).type == kind


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"slot": 5}, {"before": 5}])
def test_bad_arguments_of_a_page_are_told(two, options):
    assert two[0].ask("genesis_obj", "history_", **options).type == "BadArguments"


def test_an_object_has_no_difference_before_the_message_that_makes_it(two):
    past = two[0]
    past.do("genesis_obj", "setSlot_value_", "n", 1)
    steps = [Step("genesis_obj", "clone"), Step(Result(0), "diff_", [past.tid.hex(), past.tid.hex()])]
    ((_, outcome, _),) = past.batch.run([Delivery(1, encode(Transaction(id=1, sends=steps)), "local", False, 0.0, 60.0)])
    assert isinstance(outcome, Failed) and outcome.error.type == "Expired"


def test_a_page_after_an_entry_that_is_gone_is_expired(two):
    error = two[0].ask("genesis_obj", "recent_", before="uvm-1/77.0")
    assert error.type == "Expired" and "first page" in error.remedy


def test_values_that_are_too_large_to_show_are_told_by_their_size(two):
    past = two[0]
    shop = past.do("genesis_obj", "clone")
    past.do(shop, "setSlot_value_", "text", "x" * 5000)
    past.do(shop, "setSlot_value_", "text", "y" * 5000)
    (newer, older) = past.do(shop, "history_", "text")["entries"]
    assert newer["changes"][0]["before_bytes"] >= 5000 and "before" not in newer["changes"][0]
    assert older["changes"][0] == {"object": shop, "slot": "text", "left": True} and isinstance(shop, Reference)


def test_what_an_earlier_version_chronicled_comes_last(two):
    past = two[0]
    past.image.manager.begin()
    for number in range(3):
        past.image.enter(
            "chronicle", f"{number}.5:install", {"at": f"{number}.5", "kind": "install", "selector": f"s{number}", "on": "@2a"}
        )
    past.image.manager.commit()
    past.do("genesis_obj", "clone")
    listed = list(pages(past, 1))
    assert [entry["facts"]["selector"] for entry in listed[1:]] == ["s2", "s1", "s0"] and listed[1]["entry"] == "earlier/c0.2"
    assert past.ask("genesis_obj", "undo_", "earlier/c0.2").type == "NotRecorded"
