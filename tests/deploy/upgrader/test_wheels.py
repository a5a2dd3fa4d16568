"""What a requirement means, by the wheels that are there; and which environment is in force."""

import sys
from pathlib import Path

import pytest

from deploy import environment
from deploy.home import Home
from deploy.settings import Configuration, load
from deploy.upgrader import wheels
from deploy.upgrader.instructions import BadInstructions
from tests.theseus.wheel import make_wheel, wheel_hash


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "wheels").mkdir()
    settled = load({"BATOS_HOME": str(tmp_path / "home"), "BATOS_UPGRADE_WHEELS": str(tmp_path / "wheels")}, tmp_path)
    settled.home.ensure()
    settled.home.supervision.mkdir()
    return settled


def made(tmp_path: Path, version: str, name: str = "batos-plank") -> Path:
    return make_wheel(tmp_path / "wheels", version, {"batos_plank.py": ""}, name)


def test_a_requirement_is_pinned_by_the_wheels_of_the_directory(configuration: Configuration, tmp_path: Path) -> None:
    wheel = made(tmp_path, "1.0")
    made(tmp_path, "1.1")
    pinned = wheels.pinned(configuration, "Batos_Plank==1.0")
    assert (pinned.version, pinned.hashes) == ("1.0", [wheel_hash(wheel)])
    assert wheels.pinned(configuration, "x==3@sha256:" + "b" * 64).hashes == ["sha256:" + "b" * 64]


@pytest.mark.parametrize("requirement", ["small", "small>=1", "small==", "==1", "small==1.0", "small==one"])
def test_what_names_no_version_or_none_that_is_there_is_refused(configuration: Configuration, requirement: str) -> None:
    with pytest.raises(BadInstructions):
        wheels.pinned(configuration, requirement)


def test_what_is_older_than_a_wheel_is_said(configuration: Configuration, tmp_path: Path) -> None:
    made(tmp_path, "999.0", "structlog")
    made(tmp_path, "1.0", "pyzmq")
    made(tmp_path, "999.1rc1", "structlog")
    (tmp_path / "wheels" / "nonsense.whl").write_text("")
    (tmp_path / "wheels" / "structlog-999.2-cp27-cp27m-win32.whl").write_text("")
    assert {name: newest for name, (_, newest) in wheels.newer(configuration).items()} == {"structlog": "999.0"}


def test_an_environment_is_in_force_until_what_it_was_made_from_changes(
    configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home: Home = configuration.home
    base, new = tmp_path / "base", tmp_path / "new"
    for prefix in (base, new):
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
        (prefix / "lib" / "python3.11" / "site-packages" / "small-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(base))
    assert environment.in_force(home) is None and environment.interpreter(home).python == sys.executable
    environment.put_in_force(home, new, 4)
    assert environment.prefix_in_force(home) == new and environment.interpreter(home).python == str(new / "bin" / "python")
    assert environment.base_interpreter(home).python == str(base / "bin" / "python")
    (base / "lib" / "python3.11" / "site-packages" / "other-2.0.dist-info").mkdir()
    assert environment.in_force(home) is None and environment.is_outdated(home)
    environment.put_in_force(home, base, 0)
    assert not environment.is_outdated(home)


def test_an_environment_with_packages_of_its_own_does_not_look_elsewhere_for_them(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages" / "uvm"
    assert environment.of_prefix(tmp_path, "/source").path == "/source"
    packages.mkdir(parents=True)
    (packages / "objects.py").write_text("")
    assert environment.of_prefix(tmp_path, "/source").path == ""
