"""`batos history`, `undo` and `diff` on a real image: what a person and a script see of them."""

import json

import pytest
from typer.testing import CliRunner

from tests.uvm.history.past import Past
from tests.uvm.images import awakened
from ui_client.cli import app
from ui_client.client.errors import RemoteError
from uvm.errors import AttemptEnded, ImageError
from uvm.image import queries
from uvm.image.image import Database


class InProcess:
    """A client whose image is in this process."""

    def __init__(self, past):
        self.past = past

    def send(self, target, selector, *args, keywords=None):
        answer = self.past.ask(target, selector, *args, **(keywords or {}))
        if isinstance(answer, ImageError | AttemptEnded):
            raise RemoteError(answer.type, answer.message, answer.remedy, answer.details)
        return answer

    def inspect(self, target):
        image = self.past.image
        image.manager.begin()
        try:
            return queries.inspected(image, image.target(target), b"", 1_000_000)
        finally:
            image.manager.abort()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def past(monkeypatch):
    with awakened(Database(None)) as image:
        past = Past(image)
        monkeypatch.setattr("ui_client.commands.history.connect", lambda: InProcess(past))
        shop = past.do("genesis_obj", "clone")
        past.do(shop, "nameAs_", "shop")
        past.do("shop", "setSlot_value_", "price", 4)
        yield past


def batos(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def result_of(*arguments):
    done = batos(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["result"]


def test_history_shows_who_changed_what_by_which_message_and_method_and_when(past):
    past.install("shop", "raise_", "def raise_(self, a):\n    self.price = self.price + a\n    return self.price\n", 1)
    past.do("shop", "raise_", 3)
    done = batos("history", "shop", "price")
    first, change, second, _ = done.stdout.splitlines()
    assert past.tid.hex() in first and f"local s/{past.seq} sent raise_" in first
    assert ".price: 4 → 7  by " in change and "shop" in change and "setSlot_value_" in second
    page = result_of("history", "shop", "price")
    assert [entry["selector"] for entry in page["entries"]] == ["raise_", "setSlot_value_"] and page["next"] == ""
    assert page["entries"][0]["changes"][0]["before"] == 4


def test_history_goes_on_page_by_page(past, monkeypatch):
    monkeypatch.setattr("uvm.history.listing.LOOKED", 7)
    monkeypatch.setattr("ui_client.commands.history._SAY_EVERY_S", 0.0)
    for number in range(50):
        past.do("shop", "setSlot_value_", "price", number)
        past.do("genesis_obj", "clone")
    everything = result_of("history", "shop", "price", "-n", "1000")["entries"]
    assert [entry["changes"][0]["after"] for entry in everything] == [*reversed(range(50)), 4]
    assert len(result_of("history", "-n", "10000")["entries"]) >= 100
    page = result_of("history", "shop", "price", "-n", "20")
    rest = result_of("history", "shop", "price", "-n", "1000", "--before", page["next"])
    assert page["entries"] + rest["entries"] == everything
    assert "looking at what was before" in batos("history", "shop", "price", "-n", "40").stderr
    assert f"--before {page['next']}" in batos("history", "shop", "price", "-n", "20").stderr


def test_undo_shows_first_then_does_it_and_is_undone(past):
    past.do("shop", "setSlot_value_", "price", 5)
    entry = result_of("history", "shop", "-n", "1")["entries"][0]["entry"]
    shown = batos("undo", entry, "--preview")
    assert "price: 5 → 4" in shown.stdout and "would be taken back" in shown.stderr and past.do("shop", "price") == 5
    done = batos("undo", entry)
    assert done.exit_code == 0 and "price: 5 → 4" in done.stdout and past.do("shop", "price") == 4
    assert "(undone)" in batos("history", "shop").stdout
    result_of("undo", result_of("history", "shop", "-n", "1")["entries"][0]["entry"])
    assert past.do("shop", "price") == 5


def test_a_conflict_exits_with_1_and_names_slot_reason_and_way_out(past):
    past.do("shop", "setSlot_value_", "price", 5)
    subject = f"s/{past.seq}"
    past.do("shop", "setSlot_value_", "price", 6)
    done = batos("undo", subject)
    assert done.exit_code == 1 and "UndoConflict: price of" in done.stderr and "undo uvm-1/" in done.stderr
    assert "price stays: it was changed since by uvm-1/" in batos("undo", subject, "--preview").stderr
    failed = batos("undo", subject, "--json")
    assert failed.exit_code == 1 and json.loads(failed.stdout)["error"]["details"]["conflicts"][0]["slot"] == "price"


def test_a_method_is_undone_by_target_and_selector_with_an_offer_of_its_data(past):
    past.install("shop", "raise_", "def raise_(self, a):\n    self.price = self.price + a\n    return self.price\n", 1)
    past.do("shop", "raise_", 3)
    shown = batos("undo", "shop", "raise_", "--preview")
    assert "wrote since it was installed (1) stays" in shown.stderr and "--also-data" in shown.stderr
    assert "price: 7 → 4" in batos("undo", "shop", "raise_", "--also-data").stdout
    assert past.do("shop", "price") == 4 and past.do("shop", "respondsTo_", "raise_") is False


def test_diff_shows_slot_by_slot_what_differed(past):
    first = past.tid.hex()
    past.do("shop", "setSlot_value_", "price", 5)
    past.do("shop", "setSlot_value_", "note", "x")
    last = past.tid.hex()
    done = batos("diff", "shop", first, last)
    assert done.stdout.splitlines() == ["price: 4 → 5", "note: (none) → x"]
    assert result_of("diff", "shop", last, first) == [{"slot": "price", "before": 5, "after": 4}, {"slot": "note", "before": "x"}]
    assert "nothing differed" in batos("diff", "shop", last, last).stderr
    assert batos("diff", "shop", "x", last).exit_code == 1


def test_chronicle_is_of_the_whole_image(past):
    past.install("shop", "raise_", "def raise_(self, a):\n    return 1\n", 1)
    past.do("shop", "removeSlot_", "raise_")
    (entry,) = result_of("history", "--chronicle")["entries"]
    assert (entry["kind"], entry["author"], entry["cause"], entry["slot"]) == ("removal", "local", f"s/{past.seq}", "raise_")
    assert "removal shop" in batos("history", "--chronicle").stdout and batos("history", "shop", "--chronicle").exit_code == 2
