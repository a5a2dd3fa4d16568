"""A confined process can load no library: what it uses it has loaded before, or it gets something slower without a word."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.running import Running

ROOT = Path(__file__).parents[2]
METHOD = "def twice(self):\n    return 2 * self.n\n"


@pytest.mark.parametrize("program", ["zeo_server.__main__", "uvm.machine.__main__", "uvm.heartbeat.heartbeat", "uvm.awakening.awakening"])
def test_who_speaks_with_the_images_server_has_the_fast_messagepack_before_it_is_confined(program: str) -> None:
    script = f"import sys, {program}; sys.exit('msgpack._cmsgpack' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="what a confined process has mapped is shown to root alone")
def test_no_process_of_the_service_has_tried_to_load_a_library_in_vain(tmp_path: Path) -> None:
    with Running(tmp_path / "home") as running:
        with running.client() as client:
            clone: Any = client.send("genesis_obj", "clone")
            client.send(clone, "setSlot_value_", "n", 21)
            client.create_method(clone, "twice", METHOD)
            assert client.send(clone, "twice") == 42
        programs = {name: pid for name, pid in running.pids().items() if pid}
        assert {"image", "bridge", "uvm-1", "heartbeat"} <= set(programs)
        for name, pid in programs.items():
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                assert half_loaded(process.pid) == [], f"{name}: {process.name()}"
        for name in ("image", "uvm-1", "heartbeat"):
            assert any("_cmsgpack" in library for library in libraries(programs[name])), f"{name} speaks with the image's server in Python"


def half_loaded(pid: int) -> list[str]:
    """Libraries of a process of which nothing can be executed: the kernel refused to map the rest."""
    return [name for name, modes in libraries(pid).items() if not any("x" in mode for mode in modes)]


def libraries(pid: int) -> dict[str, set[str]]:
    """The shared libraries that a process has mapped, and how its parts are."""
    modes: dict[str, set[str]] = defaultdict(set)
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and ".so" in Path(fields[5]).name:
            modes[fields[5]].add(fields[1])
    return modes
