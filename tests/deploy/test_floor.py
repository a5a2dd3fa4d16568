"""Logs, metrics and signals: what every process stands on, in real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from deploy import logs, metrics

ROOT = Path(__file__).parents[2]


def python(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_logger_of_a_process_writes_json_lines_that_say_who_and_when() -> None:
    done = python(
        "import logging, structlog\nfrom deploy import logs\n"
        "log = logs.start('one', 'info')\nlog.info('mine', answer=42)\nstructlog.get_logger().warning('any')\n"
        "logging.getLogger('ZEO.x').error('theirs %s', 1)\nlog.debug('hidden')"
    )
    entries = lines(done.stderr)
    assert [entry["event"] for entry in entries] == ["mine", "any", "theirs 1"]
    assert all(entry["process"] == "one" and entry["pid"] and str(entry["time"]).endswith("Z") for entry in entries)
    assert entries[0]["answer"] == 42
    assert [entry["level"] for entry in entries] == ["info", "warning", "error"]


def test_what_ends_a_thread_or_the_process_is_logged_with_its_trace() -> None:
    done = python(
        "import threading\nfrom deploy import logs\nlogs.start('one', 'info')\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='busy')\nthread.start()\nthread.join()\n{}['missing']"
    )
    entries = lines(done.stderr)
    assert done.returncode == 1
    assert "ZeroDivisionError" in str(entries[0]["exception"])
    assert entries[0]["thread"] == "busy"
    assert "KeyError" in str(entries[1]["exception"])


def test_an_unknown_level_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        logs.start("one", "loud")


def test_metrics_are_served_on_loopback_and_the_port_is_written_down(tmp_path: Path) -> None:
    port = metrics.serve("one", 0, 3, tmp_path)
    assert metrics.port("one", tmp_path) == port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"process_cpu_seconds_total" in answer.read()


def test_a_port_that_is_taken_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        endpoint = metrics.listen("one", port - 2, 2, tmp_path)
    endpoint.close()
    assert endpoint.port != port
    assert metrics.port("one", tmp_path) == endpoint.port


def test_a_process_that_never_served_metrics_has_no_port(tmp_path: Path) -> None:
    assert metrics.port("never", tmp_path) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_a_loop_to_stop_and_wakes_its_poller(number: int) -> None:
    done = python(
        "import os, select, signal\nfrom deploy.process import Stop\n"
        "with Stop() as stop:\n"
        "    print(stop.requested, bool(select.select([stop], [], [], 0)[0]))\n"
        f"    os.kill(os.getpid(), {int(number)}); os.kill(os.getpid(), {int(number)})\n"
        "    print(stop.requested, bool(select.select([stop], [], [], 10)[0]), stop.signal)\n"
    )
    assert done.stdout == f"False False\nTrue True {int(number)}\n", done.stderr


CHILD = """
import os, signal
from deploy.process import die_with_parent
die_with_parent(signal.SIGKILL, int(os.environ["PARENT"]))
print("ready", flush=True)
signal.pause()
"""
PARENT = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", os.environ["CHILD"]], env={**os.environ, "PARENT": str(os.getpid())}).wait()
"""


def test_a_child_that_dies_with_its_parent_does() -> None:
    environment = {**os.environ, "CHILD": CHILD}
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        # The pipe ends when its last writer, the child, has ended.
        assert process.stdout.read() == ""


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    done = python("import os, signal\nfrom deploy.process import die_with_parent\ndie_with_parent(signal.SIGKILL, os.getppid() + 1)")
    assert done.returncode == 1
    assert "ended before its child began" in done.stderr
