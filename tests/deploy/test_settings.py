"""The configuration as a person meets it: a file, the environment, and errors that say what is allowed."""

import shutil
from pathlib import Path

import pytest

from deploy import settings
from deploy.settings import SettingsError, load


def with_file(directory: Path, text: str) -> dict[str, str]:
    (directory / "batos.toml").write_text(text)
    return {"BATOS_HOME": str(directory / "home")}


def test_without_a_file_the_defaults_hold_and_say_so(tmp_path: Path) -> None:
    configuration = load({}, tmp_path)
    assert configuration.settings == settings.Settings()
    assert configuration.home.path == tmp_path / "var"
    assert set(configuration.origins.values()) == {"default"}


def test_a_file_sets_a_key_and_is_named_as_its_origin(tmp_path: Path) -> None:
    configuration = load(with_file(tmp_path, "[uvm]\nprocesses = 5\n"), tmp_path)
    assert configuration.settings.uvm.processes == 5
    assert configuration.origins["uvm.processes"] == str(tmp_path / "batos.toml")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    environment = {**with_file(tmp_path, "[uvm]\nprocesses = 5\n"), "BATOS_UVM_PROCESSES": "7"}
    configuration = load(environment, tmp_path)
    assert configuration.settings.uvm.processes == 7
    assert configuration.origins["uvm.processes"] == "BATOS_UVM_PROCESSES"


def test_a_list_in_the_environment_has_commas_between(tmp_path: Path) -> None:
    environment = {"BATOS_HOME": str(tmp_path), "BATOS_INFERENCE_PEERS": "tcp://10.0.0.7:5700, tcp://10.0.0.8:5700"}
    assert load(environment, tmp_path).settings.inference.peers == ["tcp://10.0.0.7:5700", "tcp://10.0.0.8:5700"]


def test_a_key_of_several_words_is_overridden_too(tmp_path: Path) -> None:
    assert load({"BATOS_BRIDGE_DEAD_AFTER_S": "20.5"}, tmp_path).settings.bridge.dead_after_s == 20.5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[uvm]\nproceses = 5\n", ["proceses", "[uvm]", "processes"]),
        ("[uvms]\nprocesses = 5\n", ["[uvms]", "bridge"]),
        ("[uvm]\nprocesses = 0\n", ["uvm.processes", ">= 1"]),
        ("[uvm]\nprocesses = 'two'\n", ["uvm.processes", "int"]),
        ("[uvm]\ngeneration = 'maybe'\n", ["uvm.generation"]),
        ("uvm = 3\n", ["uvm", "table"]),
        ("[uvm\n", ["batos.toml"]),
        ("[uvm]\nmessage_limit_s = 30.0\n", ["message_limit_s", "dead_after_s", "30", "10"]),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path: Path, text: str, named: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load(with_file(tmp_path, text), tmp_path)
    assert all(word in str(refused.value) for word in named), refused.value


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("BATOS_UVM_PROCESES", "3", ["BATOS_UVM_PROCESES", "proceses"]),
        ("BATOS_UVM_PROCESSES", "many", ["BATOS_UVM_PROCESSES", "many"]),
        ("BATOS_UVM_PROCESSES", "65", ["BATOS_UVM_PROCESSES", "65", "<= 64"]),
        ("BATOS_CONFIG", "nowhere.toml", ["BATOS_CONFIG", "nowhere.toml"]),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused_with_its_name(tmp_path: Path, variable: str, value: str, named: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load({variable: value}, tmp_path)
    assert all(word in str(refused.value) for word in named), refused.value


def test_a_named_file_is_read_instead_of_the_one_that_lies_there(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[uvm]\nprocesses = 9\n")
    environment = {**with_file(tmp_path, "[uvm]\nprocesses = 5\n"), "BATOS_CONFIG": "mine.toml"}
    assert load(environment, tmp_path).settings.uvm.processes == 9


def test_a_home_too_deep_for_a_socket_gets_a_run_directory_that_is_short_its_own_and_closed(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deeper = load({"BATOS_HOME": str(deep / "z")}, tmp_path).home
    home = load({"BATOS_HOME": str(deep)}, tmp_path).home
    home.ensure()
    assert len(str(home.zeo_socket)) <= 107
    assert home.run != deeper.run
    assert home.run.stat().st_mode & 0o077 == 0
    shutil.rmtree(home.run)


def test_a_run_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    home = load({"BATOS_HOME": str(tmp_path / "home")}, tmp_path).home
    home.path.mkdir()
    (tmp_path / "elsewhere").mkdir()
    home.run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="another user"):
        home.ensure()


def test_every_key_has_a_sentence_that_says_what_it_is() -> None:
    import msgspec

    for name, section in settings.sections().items():
        for field in msgspec.json.schema(section)["$defs"][section.__name__]["properties"].items():
            assert name == "logs" or "description" in str(field), f"{name}.{field[0]}"
