"""The README's tour, run as it is written, and the window and a foreign client on the real service."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import ROOT, House

pytestmark = pytest.mark.model


def script(file: str, language: str) -> list[str]:
    """The fenced blocks of one language in a document."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def test_the_tour_works_as_it_is_written(house: House, tmp_path: Path):
    for command, runs in {"batos": "-P -m ui_client.cli", "python": ""}.items():
        (tmp_path / command).write_text(f'#!/bin/sh\nexec "{sys.executable}" {runs} "$@"\n')
        (tmp_path / command).chmod(0o755)
    commands = "".join(script("README.md", "sh"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "COLUMNS": "120", **house.environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "def total_price(self):" in done.stdout
    assert done.stdout.count("price: 99 → 2.5") == 2 and "removal shop" in done.stdout
    # Written, tested by an example, and brought to the kiosk by the import.
    assert done.stdout.splitlines().count("10.0") == 3 and "1.25" in done.stdout.splitlines()


def test_the_program_in_the_readme_runs(house: House, monkeypatch, capsys):
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    (program,) = script("README.md", "python")
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out == "3\n"


def test_a_client_of_nothing_but_zeromq_and_messagepack_can_do_the_same(house: House, tmp_path: Path):
    program = max(script("docs/protocol.md", "python"), key=len)
    (tmp_path / "client.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "client.py")],
        env={"BATOS_BRIDGE": house.configuration.bridge_endpoint, "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.window
def test_the_window_shows_the_face_of_the_image(house: House, tmp_path: Path):
    picture = tmp_path / "window.png"
    done = house.batos("ui", "--screenshot", str(picture), "--seconds", "6", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
