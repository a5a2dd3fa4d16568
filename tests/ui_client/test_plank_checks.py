"""What `batos doctor` says is old: distributions, environments that nobody uses, and the image's structure."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.settings import Configuration, load
from deploy.upgrader import candidate, tools
from deploy.upgrader.candidate import CandidateFailed
from deploy.upgrader.tools import ToolRun
from tests.theseus.wheel import make_wheel
from ui_client import plank_checks
from ui_client.check import Check


def configured(tmp_path: Path, **more: str) -> Configuration:
    (tmp_path / "wheels").mkdir()
    env = {"BATOS_UPGRADE_WHEELS": str(tmp_path / "wheels"), "BATOS_UPGRADE_ENVIRONMENTS": str(tmp_path / "environments")}
    settled = load({"BATOS_HOME": str(tmp_path / "home"), **env, **more}, tmp_path)
    settled.home.ensure()
    settled.home.supervision.mkdir()
    return settled


def told(configuration: Configuration) -> dict[str, Check]:
    return {check.name: check for check in plank_checks.planks(configuration)}


def test_what_is_older_than_a_wheel_is_said_with_the_command_and_no_network_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> ToolRun:
        raise AssertionError("the network was asked")

    configuration = configured(tmp_path)
    monkeypatch.setattr(candidate, "pip", refuse)
    make_wheel(tmp_path / "wheels", "999.0", {}, "structlog")
    checks = told(configuration)
    assert set(checks) == {"environment", "structlog is old"}
    assert checks["structlog is old"].remedy == "batos upgrade structlog==999.0" and not checks["structlog is old"].well


def test_an_index_is_asked_where_one_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = configured(tmp_path, BATOS_UPGRADE_INDEX="https://index.example/simple")
    asked: list[list[str]] = []

    def answer(prefix: Path, arguments: list[str], ends: float) -> ToolRun:
        asked.append(arguments)
        return ToolRun(0, json.dumps([{"name": "Rich", "version": "15.0", "latest_version": "16.0", "latest_filetype": "wheel"}]), "")

    monkeypatch.setattr(candidate, "pip", answer)
    checks = told(configuration)
    assert asked[0][-2:] == ["--index-url", "https://index.example/simple"]
    assert checks["rich is old"].remedy == "batos upgrade rich==16.0" and checks["index"].well


def test_an_index_that_is_silent_is_a_finding_not_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = configured(tmp_path, BATOS_UPGRADE_INDEX="pip")

    def silent(*_: Any) -> ToolRun:
        raise CandidateFailed("pip list took longer than it may")

    monkeypatch.setattr(candidate, "pip", silent)
    assert not told(configuration)["index"].well
    monkeypatch.setattr(candidate, "pip", lambda *_: ToolRun(1, "", "no such host"))
    assert not told(configuration)["index"].well


def test_environments_that_nobody_uses_are_said_with_what_they_take(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    top = candidate.directory(configuration)
    for number in range(1, 5):
        (top / str(number) / "bin").mkdir(parents=True)
        (top / str(number) / "bin" / "python").write_bytes(b"x" * 500_000)
        (top / str(number) / ".whole").write_text("")
    check = told(configuration)["environments"]
    assert "of the upgrades 1, 2: 1.0 MB" in check.seen and check.remedy == "batos upgrades prune --keep 2"
    assert len(list(top.iterdir())) == 4, "doctor removes nothing"


@pytest.mark.parametrize(
    ("answer", "well", "seen"),
    [
        (ToolRun(0, json.dumps({"shape": 1, "known": 1, "digest": "d"}), ""), True, "shape 1"),
        (ToolRun(0, json.dumps({"shape": 0, "known": 1}), ""), False, "this version writes shape 1"),
        (ToolRun(1, "", "the image has shape 9, and this version knows shapes up to 1\n"), False, "shape 9"),
        (ToolRun(None, "", ""), False, "no answer"),
    ],
)
def test_an_image_of_an_older_structure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: ToolRun, well: bool, seen: str
) -> None:
    configuration = configured(tmp_path)
    monkeypatch.setattr(plank_checks, "listens", lambda path: True)
    monkeypatch.setattr(tools, "run", lambda *_, **__: answer)
    check = told(configuration)["image's structure"]
    assert check.well is well and seen in check.seen and bool(check.remedy) is not well
