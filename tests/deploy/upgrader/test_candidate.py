"""A clone shares its files and not its place; environments that nobody uses go, the others stay."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy import environment
from deploy.home import Home
from deploy.settings import Configuration, load
from deploy.upgrader import candidate, instructions
from deploy.upgrader.candidate import CandidateFailed, clone
from deploy.upgrader.events import DistributionChange
from deploy.upgrader.instructions import PinnedDistribution
from deploy.upgrader.proof import copy_image, top_modules
from tests.theseus.wheel import make_wheel, wheel_hash


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An environment as venv makes it, in small."""
    prefix = tmp_path / "env"
    packages = prefix / "lib" / "python3.11" / "site-packages"
    (prefix / "bin").mkdir(parents=True)
    (packages / "small").mkdir(parents=True)
    (packages / "small-1.0.dist-info").mkdir()
    (packages / "small-1.0.dist-info" / "RECORD").write_text(
        "small/__init__.py,,\nsmall/deep/__init__.py,,\nlone.py,,\n../../bin/small,,\n"
    )
    (packages / "small" / "__init__.py").write_text("VERSION = 1\n")
    (prefix / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = python -m venv {prefix}\n")
    (prefix / "bin" / "small").write_text(f"#!{prefix}/bin/python\n")
    (prefix / "bin" / "small").chmod(0o755)
    (prefix / "bin" / "plain").write_text("#!/bin/sh\n")
    (prefix / "bin" / "python").symlink_to("python3")
    (prefix / "bin" / "python3").symlink_to("/usr/bin/python3")
    (prefix / "lib64").symlink_to("lib")
    (prefix / "own").symlink_to(prefix / "lib")
    return prefix


def test_a_clone_shares_what_does_not_name_its_place(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "clone"
    cost = clone(source, target)
    module = "lib/python3.11/site-packages/small/__init__.py"
    assert (target / module).stat().st_ino == (source / module).stat().st_ino
    assert (target / "bin" / "plain").stat().st_ino == (source / "bin" / "plain").stat().st_ino
    assert (target / "bin" / "small").read_text() == f"#!{target}/bin/python\n" and os.access(target / "bin" / "small", os.X_OK)
    assert str(target) in (target / "pyvenv.cfg").read_text() and str(target) not in (source / "pyvenv.cfg").read_text()
    assert (target / "bin" / "python").readlink() == Path("python3") and (target / "own").readlink() == target / "lib"
    assert (cost.linked, cost.written) == (3, 2)
    assert candidate.own_octets(target) == sum((target / name).stat().st_size for name in ("bin/small", "pyvenv.cfg"))


def test_what_is_put_in_the_place_of_a_shared_file_is_not_seen_by_the_other(source: Path, tmp_path: Path) -> None:
    clone(source, tmp_path / "clone")
    file = tmp_path / "clone" / "lib" / "python3.11" / "site-packages" / "small" / "__init__.py"
    file.unlink()
    file.write_text("VERSION = 2\n")
    assert "1" in (source / "lib" / "python3.11" / "site-packages" / "small" / "__init__.py").read_text()


def test_where_links_are_not_allowed_files_are_copied(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, other: Path) -> None:
        raise OSError(18, "cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert clone(source, tmp_path / "clone").linked == 0
    assert (tmp_path / "clone" / "bin" / "plain").read_text() == "#!/bin/sh\n"


def test_what_differs_between_two_environments_is_listed_with_the_hashes_of_the_wish(source: Path, tmp_path: Path) -> None:
    clone(source, tmp_path / "clone")
    packages = tmp_path / "clone" / "lib" / "python3.11" / "site-packages"
    (packages / "small-1.0.dist-info").rename(packages / "small-2.0.dist-info")
    wish = [PinnedDistribution("Small", "2.0", ["sha256:" + "a" * 64])]
    assert candidate.changes(source, tmp_path / "clone", wish) == [DistributionChange("small", "1.0", "2.0", wish[0].hashes)]


def test_what_a_distribution_can_be_imported_by_is_what_it_installed_at_the_top(source: Path) -> None:
    (packages,) = environment.site_packages(source)
    assert top_modules(packages, {"small"}) == {"small", "lone"}
    assert top_modules(packages, {"other"}) == set()


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    settled = load({"BATOS_HOME": str(tmp_path / "home"), "BATOS_UPGRADE_ENVIRONMENTS": str(tmp_path / "environments")}, tmp_path)
    settled.home.ensure()
    settled.home.supervision.mkdir()
    return settled


def test_the_newest_stay_and_whatever_is_used_and_the_others_go(configuration: Configuration) -> None:
    top = candidate.directory(configuration)
    for number in range(1, 6):
        (top / str(number) / "bin").mkdir(parents=True)
        (top / str(number) / "bin" / "python").write_text("")
        if number != 5:  # one that was never finished
            (top / str(number) / ".whole").write_text("")
    environment.put_in_force(configuration.home, top / "1", 1)
    assert set(candidate.prune(configuration, [top / "2"], 1)) == {3, 5}
    assert candidate.made(configuration) == [1, 2, 4]
    assert candidate.remove(configuration, top / "1") == 0 and candidate.made(configuration) == [1, 2, 4]
    with pytest.raises(CandidateFailed, match="not there any more"):
        candidate.earlier(configuration, 3)


def test_environments_are_never_in_the_home_which_the_images_server_writes(tmp_path: Path) -> None:
    inside = load({"BATOS_HOME": str(tmp_path), "BATOS_UPGRADE_ENVIRONMENTS": str(tmp_path / "environments")}, tmp_path)
    with pytest.raises(CandidateFailed, match="inside the home"):
        candidate.directory(inside)


@contextmanager
def no_file_larger_than(octets: int) -> Iterator[None]:
    """Writing past so many bytes fails, here and in children, as on a full disk, whoever the tests run as."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def real(configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """A configuration with a real environment in force, which has pip, and a wheel of four megabytes in its directory."""
    wheels, base = tmp_path / "wheels", tmp_path / "base"
    wheels.mkdir()
    make_wheel(wheels, "2.0", {"small.py": "VERSION = 2\n", "large.txt": "x" * 4_000_000}, "small")
    subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)
    monkeypatch.setattr(sys, "prefix", str(base))
    return load({"BATOS_HOME": str(configuration.home.path), "BATOS_UPGRADE_WHEELS": str(wheels)}, tmp_path)


def test_a_disk_that_fills_while_pip_writes_leaves_nothing(real: Configuration, tmp_path: Path) -> None:
    wheel = tmp_path / "wheels" / "small-2.0-py3-none-any.whl"
    wish = instructions.wish(real.home, "tester", requirements=[PinnedDistribution("small", "2.0", [wheel_hash(wheel)])])
    with no_file_larger_than(3_000_000), pytest.raises(CandidateFailed, match="pip refused it"):
        candidate.build(real, 1, wish, lambda line: None, 120.0)
    assert candidate.made(real) == []
    prefix, cost = candidate.build(real, 1, wish, lambda line: None, 120.0)
    assert candidate.made(real) == [1] and environment.distributions(prefix)["small"] == "2.0"
    assert cost.octets > 4_000_000 and not environment.distributions(Path(sys.prefix)).get("small")


def test_a_disk_that_fills_while_the_image_is_copied_fails_the_proof(tmp_path: Path) -> None:
    image, copy = Home(tmp_path / "home"), Home(tmp_path / "proof")
    image.ensure()
    image.blobs.mkdir()
    image.image_file.write_bytes(b"x" * 2_000_000)
    with no_file_larger_than(1_000_000), pytest.raises(CandidateFailed, match="cannot be copied"):
        copy_image(image, copy)
