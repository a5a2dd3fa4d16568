"""SIGKILL in the middle of an undo leaves the image before it or after it, and the same number once more ends after it."""

import signal
import subprocess
import sys

import pytest
import ZEO

from tests.uvm.history.killed import POINTS
from tests.uvm.history.past import Past, picture
from tests.uvm.images import awakened
from tests.zeo_server.server import ROOT, running_server
from uvm.image.image import Database
from uvm.machine.delivery import Answered


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_leaves_before_or_after(server, point):
    with awakened(Database(ZEO.client(server.address, wait_timeout=10, server_sync=True))) as image:
        past = Past(image)
        shop = past.do("genesis_obj", "clone")
        past.do(shop, "nameAs_", f"shop {point}")
        source = "def fill_(self, a):\n    self.a = a\n    self.b = [a]\n    self.c = self.clone()\n    return 1\n"
        past.install(shop, "fill_", source, 1)
        before_all = picture(image)
        past.do(shop, "fill_", 7)
        before, subject = picture(image), f"s/{past.seq}"
        command = [sys.executable, "-m", "tests.uvm.history.killed", server.address, point, subject]
        killed = subprocess.run(command, cwd=ROOT, timeout=60, check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        left = picture(image)
        assert left == (before_all if point == "finished" else before)
        (outcome,) = past.run(past.delivery("genesis_obj", "undo_", subject, session=point, seq=1))
        assert isinstance(outcome, Answered) and (outcome.replayed_tid is not None) == (point == "finished")
        assert picture(image) == before_all
        assert past.recent(chronicle=True, limit=1)[0]["cause"] == f"{point}/1" and past.recent(limit=3)[1]["undid"]
