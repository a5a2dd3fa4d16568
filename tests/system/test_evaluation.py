"""`batos eval` on the real service with the real model, and in throwaway images that are gone afterwards, however they end."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.inference_worker.files import toy_model
from tests.inference_worker.openai_server import Handler, OpenAiServer, in_a_thread, spoken, streamed
from tests.system.conftest import ROOT, House
from ui_client.evaluation.report import read
from ui_client.evaluation.throwaway import PREFIX, sweep

TASKS = (
    {"id": "seen-total", "selector": "total_cost", "slots": {"cost": 3, "pieces": 4}, "expect": {"result": 12}},
    {"id": "seen-visit", "selector": "increment_visits", "slots": {"visits": 3}, "expect": {"changed": {"visits": 4}}},
    {"id": "held-slot", "selector": "cost", "slots": {"cost": 3}, "expect": {"result": 3}},
)
TOTAL = {
    "id": "a-1",
    "selector": "total",
    "slots": {"cost": 3, "pieces": 4},
    "expect": {"result": 12},
    "check": [{"slots": {"cost": 5}, "result": 20}],
}


@pytest.mark.model
def test_the_service_that_runs_is_evaluated_on_objects_of_its_own(house: House, tmp_path: Path):
    suite, report = tmp_path / "suite.jsonl", tmp_path / "report.json"
    suite.write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    before = set(house.ask("inspect", "genesis_obj")["result"]["methods"])
    told = house.ask("eval", str(suite), "--here", "--out", str(report), "--plot", str(tmp_path))
    assert "result" in told, told
    total, visit, slot = read(report).tasks
    assert all(task.status in ("answered", "refused") and task.seconds > 0 for task in (total, visit, slot))
    assert total.drafts and all(draft.right is not None and draft.tokens for draft in total.drafts)
    assert total.right == (total.status == "answered" and all(total.cases))
    assert (slot.right, slot.installed, slot.drafts) == (True, False, [])
    assert told["result"]["summary"]["groups"]["seen"]["tasks"] == 2
    assert (tmp_path / "calibration.svg").exists() and (tmp_path / "precision-recall.svg").exists()
    assert set(house.ask("inspect", "genesis_obj")["result"]["methods"]) == before


@contextmanager
def evaluating(tmp_path: Path, answer: Handler) -> Iterator["tuple[subprocess.Popen[str], OpenAiServer, Path]"]:
    """`batos eval` in a throwaway image whose texts a scripted server writes; its temporary directory, of a path with room for sockets."""
    suite = tmp_path / "suite.jsonl"
    suite.write_text(json.dumps(TOTAL))
    server = OpenAiServer(answers=[answer])
    with in_a_thread(server), tempfile.TemporaryDirectory(prefix="e-") as directory:
        temporary = Path(directory)
        environment = {
            "BATOS_HOME": str(tmp_path / "none"),
            "BATOS_INFERENCE_MODEL": str(toy_model(tmp_path / "toy")),
            "BATOS_INFERENCE_ENDPOINT": server.url,
            "BATOS_INFERENCE_ENDPOINT_DIALECT": "openai",
            "BATOS_INFERENCE_ENDPOINT_ADAPTERS": "ignore",
            "BATOS_UVM_PROCESSES": "1",
            "TMPDIR": directory,
        }
        process = subprocess.Popen(
            # The judgement is about the shipped adapter, and not about what a script says.
            [sys.executable, "-m", "ui_client.cli", "eval", str(suite), "--out", str(tmp_path / "report.json"), "--risk", "1"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process, server, temporary
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=120)


def left(temporary: Path) -> list[int]:
    """Processes that belong to a service whose home is there."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(temporary) in process.environ().get("BATOS_HOME", ""):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_throwaway_image_judges_a_suite_and_is_gone(tmp_path: Path):
    with evaluating(tmp_path, spoken("    return self.cost * self.pieces")) as (process, _, temporary):
        out, _ = process.communicate(timeout=280)
        assert process.returncode == 0, out
        (task,) = read(tmp_path / "report.json").tasks
        assert (task.right, task.cases, task.first_draft) == (True, [True, True], True), task
        assert "1/1 100%" in out
        assert not list(temporary.glob(f"{PREFIX}*")) and not left(temporary)


def test_an_evaluation_that_is_ended_takes_its_image_with_it(tmp_path: Path):
    with evaluating(tmp_path, streamed(hold=True)) as (process, server, temporary):
        until = time.monotonic() + 150
        while not any(request.path.endswith("completions") for request in server.requests):
            assert time.monotonic() < until and process.poll() is None, "the engine was never asked"
            time.sleep(0.1)
        assert left(temporary)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=120)
        assert process.returncode != 0, out
        assert not list(temporary.glob(f"{PREFIX}*")) and not left(temporary), out
        assert not (tmp_path / "report.json").exists()


def test_what_a_killed_evaluation_left_is_swept_by_the_next_one_and_what_runs_is_not(tmp_path: Path):
    killed, running, stranger = (tmp_path / name for name in (f"{PREFIX}killed", f"{PREFIX}running", "batos-other"))
    for home in (killed, running, stranger):
        (home / "var").mkdir(parents=True)
        (home / "evaluation.lock").touch()
        os.utime(home, (0, 0))
    begun = tmp_path / f"{PREFIX}begun"
    begun.mkdir()
    with (running / "evaluation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sweep(tmp_path) == [killed]
    assert not killed.exists() and running.exists() and stranger.exists() and begun.exists()
