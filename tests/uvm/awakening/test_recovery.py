"""An image that does not boot is told object by object, and goes back to the last transaction after which it did."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileStorage

from deploy.settings import Home
from tests.uvm.images import Bench, awakened
from tests.zeo_server.server import ROOT
from uvm.awakening.rewind import find, image_at, look, lost_after, transactions
from uvm.image.image import Database, Image
from uvm.objects import UvmObject
from zeo_server.rollback import rollback


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose image is awake, and got a name and two messages since."""
    directory = Home(tmp_path / "home")
    directory.ensure()
    with writing(directory) as image:
        bench = Bench(image)
        for number, selector in ((1, "shop"), (2, "yard")):
            clone = bench.send("genesis_obj", "clone", session="s", seq=2 * number - 1)
            assert clone.result
            bench.send("genesis_obj", "setSlot_value_", selector, number, session="s", seq=2 * number, floor=2 * number - 1)
    return directory


def writing(home: Home) -> Any:
    """The image of a home, opened as its only user."""
    return awakened(Database(FileStorage(str(home.image_file))))


def change(home: Home, do: Callable[[Image], None]) -> None:
    with writing(home) as image:
        image.manager.begin()
        do(image)
        image.manager.commit()


def no_codex(image: Image) -> None:
    del image.root["codex"]


def another_codex(image: Image) -> None:
    image.root["codex"].put("content", {"identity": "somebody else"})


def names_of_another_kind(image: Image) -> None:
    image.root["names"] = PersistentMapping()


def a_name_for_no_object(image: Image) -> None:
    image.names["traits_obj"] = 7


def a_shard_of_another_kind(image: Image) -> None:
    image.root["journals"].put("3", "gone")


def a_slot_in_the_place_of_parents(image: Image) -> None:
    image.named("pLLM_obj").put("parent*", 5)


def no_fence(image: Image) -> None:
    image.root["fence"].put("token", "mine")


@pytest.mark.parametrize(
    ("breaks", "where"),
    [
        (no_codex, "the root"),
        (another_codex, "the Codex"),
        (names_of_another_kind, "the names"),
        (a_name_for_no_object, "the names"),
        (a_shard_of_another_kind, "table journals"),
        (a_slot_in_the_place_of_parents, "pLLM_obj"),
        (no_fence, "the heartbeat's fence"),
    ],
)
def test_what_breaks_a_boot_is_named_and_the_last_transaction_before_it_is_found(home, breaks, where):
    assert look(home).problems == []
    good = transactions(home)[-1]
    change(home, breaks)
    checked = look(home)
    assert not checked.boots and checked.problems[0].where.startswith(where), checked.problems
    assert find(home) == good


def test_what_does_not_stop_a_boot_is_said_and_is_no_reason_to_go_back(home):
    def wear(image: Image) -> None:
        image.named("traits_obj").drop("clone")
        image.named("traits_obj").own("doesNotUnderstand_").put("source", "def doesNotUnderstand_(self, message):\n    import os\n")
        image.give_name(UvmObject({"kept": 1}), "kept")

    change(home, wear)
    checked = look(home)
    assert checked.boots
    assert {problem.where.partition(" ")[0] for problem in checked.problems} == {"clone", "doesNotUnderstand_"}
    assert find(home) == transactions(home)[-1]


def test_going_back_sets_aside_a_whole_image_and_says_before_what_will_be_lost(home):
    good = transactions(home)[-1]
    change(home, no_fence)
    with writing(home) as image:
        Bench(image).send("genesis_obj", "setSlot_value_", "late", 1, session="t", seq=9)
        image.manager.begin()
        image.give_name(UvmObject({}), "late")
        image.manager.commit()
    lost = lost_after(home, good)
    assert lost.transactions == 3 and lost.names == ["late"] and lost.unread == 0
    assert [(message.session, message.seq, message.selector) for message in lost.messages] == [("t", 9, "setSlot_value_")]
    later = len(transactions(home))
    done = rollback(home, good)
    assert done.transactions_gone == 3 and look(home).boots and transactions(home)[-1] == good
    assert len(transactions(Home(Path(done.before)))) == later
    with writing(home) as image:
        assert Bench(image).send("genesis_obj", "yard").result


def test_a_file_damaged_in_the_middle_goes_back_to_what_can_be_read(home):
    good = transactions(home)[-2]
    size = home.image_file.stat().st_size
    with image_at(home, good) as image:
        assert image is not None
        end = image.database.storage._pos
    content = bytearray(home.image_file.read_bytes())
    content[end + 8 : end + 16] = b"\0\0\0\0\0\0\0\1"  # the length of the last transaction
    home.image_file.write_bytes(content)
    assert find(home) == good
    assert lost_after(home, good).unread == size - end
    rollback(home, good)
    assert look(home).problems == []


def test_a_torn_last_transaction_is_no_damage(home):
    good = transactions(home)[-2]
    home.image_file.write_bytes(home.image_file.read_bytes()[:-5])
    assert look(home).boots and transactions(home)[-1] == good


def test_a_file_that_is_no_image_is_told_so(home):
    home.image_file.write_bytes(b"no image, but long enough for one")
    checked = look(home)
    assert not checked.boots and str(home.image_file) in checked.problems[0].where
    assert find(home) is None


def batos(home: Home, *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ui_client.cli", "image", *arguments, "--json"],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(home.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_over_the_command_an_image_that_does_not_boot_comes_back(home):
    change(home, no_codex)
    assert batos(home, "rollback")[1]["error"]["type"] == "NotConfirmed"
    status, answer = batos(home, "rollback", "--yes")
    assert status == 0 and Path(answer["result"]["before"], "live_image.fs").exists()
    status, answer = batos(home, "check")
    assert (status, answer["result"]["boots"], answer["result"]["problems"]) == (0, True, [])
