"""`batos up`, `status` and `down` with every real process of the service; the model is never loaded, because nothing is missing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ui_client.commands.conftest import Answer, run_command

FACE = """def display_yourself(self):
    return column(label(self.name), field('born', self.born), field('clones', self.clones), button('clone', 'clone'))
"""
PROCESSES = {"image", "bridge", "uvm-1", "uvm-2", "inference", "heartbeat", "upgrader"}


class Home:
    """A home with a model's directory that is small enough for a test, and the command run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        model = path / "model"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "tiny", "hidden_size": 8, "num_hidden_layers": 1}')
        self.settings = {"BATOS_INFERENCE_MODEL": str(model), "BATOS_METRICS_BASE_PORT": "0"}

    def batos(self, *arguments: str, **options: Any) -> Answer:
        return run_command(self.path, *arguments, settings=self.settings, timeout=150, **options)

    def left(self) -> list[str]:
        """Processes whose environment names this home."""
        commands = []
        for process in Path("/proc").iterdir():
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
                command = (process / "cmdline").read_bytes()
            except (OSError, ValueError):
                continue
            if f"BATOS_HOME={self.path}".encode() in environment and command and int(process.name) != os.getpid():
                commands.append(command.replace(b"\0", b" ").decode(errors="replace"))
        return commands


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Answer]]:
    """A service that `batos up` has just brought up for the first time."""
    home = Home(tmp_path_factory.mktemp("home"))
    try:
        yield home, home.batos("up", "--json")
    finally:
        home.batos("down")


def test_the_first_up_awakens_the_image_and_tells_its_steps(up: tuple[Home, Answer]) -> None:
    _, answer = up
    assert answer.status == 0, answer.err
    result = answer.json["result"]
    assert result["image"] == "created"
    assert result["phases"][0]["phase"] == "Prototypal Awakening"
    steps = [step["step"] for step in result["phases"][0]["steps"]]
    assert steps == ["home", "service", "image server", "primordial objects", "bridge and UVMs"]
    assert all(name in answer.err for name in ("Prototypal Awakening", "2 UVMs answer"))


def test_status_names_every_process_and_where_to_connect(up: tuple[Home, Answer]) -> None:
    home, _ = up
    status = home.batos("status", "--json").json["result"]
    assert {program["name"]: program["state"] for program in status["programs"]} == dict.fromkeys(PROCESSES, "RUNNING")
    assert status["endpoints"]["bridge"].startswith("ipc://") and status["endpoints"]["events"].startswith("ipc://")
    assert len(status["bridge"]["uvms"]) == 2
    shown = home.batos("status")
    assert shown.status == 0 and all(name in shown.out for name in PROCESSES)


def test_the_second_up_finds_the_image_and_converses_without_the_model(up: tuple[Home, Answer]) -> None:
    home, _ = up
    assert home.batos("method", "genesis_obj", "display_yourself", "-", stdin=FACE).status == 0
    answer = home.batos("up", "--converse", "--json")
    assert answer.status == 0, answer.err
    result = answer.json["result"]
    assert result["image"] == "found" and result["generated"] is False
    assert [phase["phase"] for phase in result["phases"]] == [
        "Prototypal Awakening",
        "The First Conversation",
        "In-Memory Autopoiesis",
        "Functional Validation",
        "Autotelic Heartbeat",
    ]
    assert result["method"]["source"] == FACE
    assert result["live_fields"] == {"fields": 2, "live": 2}
    assert result["heartbeat"]["state"] == "RUNNING"
    assert "nothing is generated" in answer.err and "[ clone ]" in answer.err


def test_a_clone_is_made_inspected_and_listed(up: tuple[Home, Answer]) -> None:
    home, _ = up
    reference = home.batos("send", "genesis_obj", "clone", "--json").json["result"]["ref"]
    assert home.batos("send", reference, "setSlot_value_", "price", "3.5", "--json").status == 0
    assert home.batos("inspect", reference, "--json").json["result"]["slots"]["price"] == 3.5
    names = [entry["names"] for entry in home.batos("objects", "--json").json["result"]]
    assert ["genesis_obj"] in names and ["traits_obj"] in names


def test_an_unknown_target_is_one_line_with_a_remedy(up: tuple[Home, Answer]) -> None:
    home, _ = up
    answer = home.batos("send", "gnesis_obj", "clone")
    assert answer.status == 1 and answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("NoSuchObject: ") and "genesis_obj" in line


def test_logs_of_a_process_can_be_read(up: tuple[Home, Answer]) -> None:
    home, _ = up
    assert "ready" in home.batos("logs", "uvm-1", "-n", "200").out
    wrong = home.batos("logs", "uvm-7")
    assert wrong.status == 1 and "uvm-1" in wrong.err


def test_the_image_can_be_verified_by_its_command(up: tuple[Home, Answer]) -> None:
    home, _ = up
    assert home.batos("image", "verify").status == 0
    assert home.batos("image", "restore", str(home.path / "nothing")).status != 0


def test_a_model_that_is_not_there_stops_the_awakening_before_anything_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.settings["BATOS_INFERENCE_MODEL"] = str(tmp_path / "missing")
    answer = home.batos("up", "--json")
    assert answer.status == 1 and answer.json["error"]["type"] == "NoSuchModel"
    assert home.left() == []


def test_an_image_that_cannot_be_opened_is_named_with_the_way_back_and_the_end_of_the_log(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "live_image.fs").write_bytes(b"no image" * 4000)
    try:
        answer = home.batos("up")
        assert answer.status == 1
        last = answer.err.splitlines()[-1]
        assert last.startswith("ImageBroken: ") and "live_image.fs" in last and "batos image rollback" in last
        assert "FileStorageFormatError" in answer.err
    finally:
        home.batos("down")
    assert home.left() == []


def test_down_leaves_no_process_behind_and_may_be_repeated(up: tuple[Home, Answer]) -> None:
    # The last test of the module: it ends what the others used.
    home, _ = up
    assert home.left() != []
    assert home.batos("down", "--json").json["result"]["stopped"] is True
    assert home.left() == []
    assert home.batos("down").status == 0
    answer = home.batos("status", "--json")
    assert answer.status == 1 and answer.json["error"]["type"] == "NotRunning"
    assert (home.path / "live_image.fs").is_file()
