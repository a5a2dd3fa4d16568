"""The forge as it runs: its process, the two programs that it starts, confined, and a kill in between. The model is tiny."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.digest import directory_digest
from deploy.home import Home
from deploy.orders import Exam, Order, OrderReport, Spool, TaughtPair
from inference_worker.forge.render import COVENANT
from inference_worker.protocol import Manifest
from tests.inference_worker.forge.test_train import model as model

ORDER = Order("0123456789abcdef", 5, "a" * 64, steps=30, batch=2, words=["total"])
PROMPT = f"{COVENANT}\nObject:\nprice = 2\nMessage: worth()\nExample: worth() -> 2\ndef worth(self):\n"
_LONGEST_S = 600.0

pytestmark = pytest.mark.timeout(2 * _LONGEST_S)


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path, model: Path) -> Iterator[tuple[Home, Callable[[], subprocess.Popen[bytes]]]]:
    """A home with the model, and how the forge is started in it."""
    home = Home(tmp_path / "home")
    home.path.mkdir()
    home.ensure()
    digest = directory_digest(model)
    (home.models / digest).mkdir()
    for file in model.iterdir():
        (home.models / digest / file.name).write_bytes(file.read_bytes())
    order = msgspec.structs.replace(ORDER, base=digest, lessons=[TaughtPair(PROMPT, "    return self.price", "@1", "local")])
    Spool(home).give(order, Exam(order.id, 9, 2, words=["total"]))
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        environment = {**os.environ, "BATOS_HOME": str(home.path), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([sys.executable, "-m", "inference_worker.forge"], env=environment, start_new_session=True)
        started.append(process)
        return process

    yield home, start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_an_order_is_trained_examined_and_reported_though_everything_is_killed_on_the_way(
    home: tuple[Home, Callable[[], subprocess.Popen[bytes]]],
) -> None:
    where, start = home
    spool = Spool(where)

    def report() -> OrderReport:
        return spool.report(ORDER.id) or OrderReport(ORDER.id, "waiting")

    first = start()
    _until("it trains", lambda: report().step >= 10 or report().ended)
    assert not report().ended, report().detail
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    start()
    _until("it is trained and examined", lambda: report().ended)
    ended = report()
    assert ended.state == "trained", ended.detail
    assert ended.step == 30 and ended.items["lesson"] > 0 and ended.origins == ["@1"] and ended.planted > 0
    assert {"seen", "composed", "refused"} <= set(ended.slices)
    answers = spool.answers(ORDER.id)
    assert answers is not None and {answer.slice for answer in answers.answers} >= {"seen", "composed", "refused"}
    assert all(answer.candidate.least <= answer.candidate.logprob < 0 for answer in answers.answers)
    manifest = msgspec.convert(ended.manifest, Manifest)
    assert manifest.base == spool.orders()[0].base and {file.path for file in manifest.files} >= {"adapter_model.safetensors"}
    course = spool.course(ORDER.id)
    assert len(course.losses) == 30 and len(course.distances) == 3 and course.distances[-1] == ended.distance
