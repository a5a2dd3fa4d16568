"""The new environment: a clone of the one in force, file by file by hard links, into which pip installs what was wished for.

A file that both have is one file on the disk. pip and Python never write into a file that is there: they put another one in its place,
so that the environment in force stays as it is. What names its own place (the programs in `bin`, `pyvenv.cfg`) is written anew. Only
wheels are installed: pip runs nothing of them. Code of theirs runs from the first start of the new environment's Python on, since a
wheel may bring a `.pth` file; whoever names the hash of a wheel trusts it as much as the rest of the service.
Called by the upgrader's one thread. An environment is a directory of its own, `<environments>/<number>`.
"""

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from deploy import durable, environment
from deploy.settings import Configuration
from deploy.upgrader import tools
from deploy.upgrader.events import DistributionChange
from deploy.upgrader.instructions import PinnedDistribution, UpdateInstructions, pinned_text
from deploy.upgrader.tools import ToolRun

_WHOLE: Final = ".whole"
_COPIES: Final = (errno.EXDEV, errno.EPERM, errno.EMLINK)
_PIP: Final = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_PROGRESS_BAR": "off"}
_SCRIPT: Final = 4096
"""Bytes of a program in `bin` that are looked through for its interpreter's path."""

Say = Callable[[str], None]


class CandidateFailed(Exception):
    """The environment cannot be built, or does not do its work; the message says why, `log` is the end of what was written."""

    def __init__(self, why: str, log: str = "") -> None:
        super().__init__(why)
        self.log = log


class CloneCost(Struct):
    """What a clone takes: files linked, files written anew, and the bytes of those."""

    linked: int = 0
    written: int = 0
    octets: int = 0


def directory(configuration: Configuration) -> Path:
    """Where this home's environments are: beside the one that the service was set up in, or as configured. Raises CandidateFailed."""
    home = configuration.home
    base, _ = environment.base_of(home)
    named = configuration.settings.upgrade.environments
    top = Path(named).absolute() if named else base.with_name(f"{base.name}.upgrades")
    if home.path == top or home.path in top.parents:
        raise CandidateFailed(f"upgrade.environments is {top}, inside the home, which the image's server may write; name another place")
    return top / hashlib.sha256(os.fsencode(home.path)).hexdigest()[:12]


def build(configuration: Configuration, number: int, wish: UpdateInstructions, say: Say, seconds: float) -> tuple[Path, CloneCost]:
    """Build the environment of an upgrade from nothing. Raises CandidateFailed; then nothing of it is left."""
    ends = time.monotonic() + seconds
    prefix = directory(configuration) / str(number)
    source = environment.prefix_in_force(configuration.home)
    if not (source / "pyvenv.cfg").is_file():
        raise CandidateFailed(f"{source} is no environment of Python's venv, and only such a one is cloned; set the service up with `make`")
    try:
        shutil.rmtree(prefix, ignore_errors=True)
        prefix.parent.mkdir(parents=True, exist_ok=True)
        say(f"cloning {source}")
        cost = clone(source, prefix)
        before = _complaints(source, ends)
        say(f"installing {', '.join(f'{each.name} {each.version}' for each in wish.requirements)}")
        _install(configuration, prefix, wish.requirements, ends)
        if fresh := sorted(set(_complaints(prefix, ends)) - set(before)):
            raise CandidateFailed(f"the distributions do not go together: {'; '.join(fresh[:10])}")
        _hold_to(prefix, wish.requirements)
        cost.octets = own_octets(prefix)
        (prefix / _WHOLE).write_text(f"{number}\n")
        durable.sync(prefix)
    except OSError as error:
        shutil.rmtree(prefix, ignore_errors=True)
        raise CandidateFailed(f"the environment cannot be made: {error}") from error
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise
    return prefix, cost


def changes(before: Path, after: Path, requirements: Sequence[PinnedDistribution]) -> list[DistributionChange]:
    """Which distributions differ between two environments."""
    old, new = environment.distributions(before), environment.distributions(after)
    hashes = {environment.normalized(each.name): each.hashes for each in requirements}
    names = sorted({name for name in {**old, **new} if old.get(name) != new.get(name)} | set(hashes))
    return [DistributionChange(name, old.get(name, ""), new.get(name, ""), hashes.get(name, [])) for name in names]


def earlier(configuration: Configuration, number: int) -> Path:
    """The environment of an earlier upgrade, whole; that of 0 is the one that the service was set up in. Raises CandidateFailed."""
    if number == 0:
        return environment.base_of(configuration.home)[0]
    prefix = directory(configuration) / str(number)
    if not (prefix / _WHOLE).exists():
        raise CandidateFailed(f"the environment of upgrade {number} is not there any more; `batos upgrades` says which are")
    return prefix


def remove(configuration: Configuration, prefix: Path) -> int:
    """Remove an environment that an upgrade made; the bytes that this frees. Never one that is in force or elsewhere."""
    if prefix.parent != directory(configuration) or prefix == environment.prefix_in_force(configuration.home):
        return 0
    (prefix / _WHOLE).unlink(missing_ok=True)
    octets = own_octets(prefix)
    shutil.rmtree(prefix, ignore_errors=True)
    return octets


def made(configuration: Configuration) -> list[int]:
    """The numbers of the upgrades whose environments are there, whole or not, oldest first."""
    top = directory(configuration)
    return sorted(int(entry.name) for entry in top.iterdir() if entry.name.isdigit()) if top.is_dir() else []


def prunable(configuration: Configuration, used: Sequence[Path], kept: int) -> dict[int, Path]:
    """All environments but the newest `kept`, those in `used` and the one in force, by number."""
    spare = {environment.prefix_in_force(configuration.home), *used}
    whole = [number for number in made(configuration) if (directory(configuration) / str(number) / _WHOLE).exists()]
    spare |= {directory(configuration) / str(number) for number in whole[len(whole) - kept :] if kept}
    prefixes = {number: directory(configuration) / str(number) for number in made(configuration)}
    return {number: prefix for number, prefix in prefixes.items() if prefix not in spare}


def prune(configuration: Configuration, used: Sequence[Path], kept: int) -> dict[int, int]:
    """Remove what is prunable; the bytes that each freed, by number."""
    return {number: remove(configuration, prefix) for number, prefix in prunable(configuration, used, kept).items()}


def clone(source: Path, target: Path) -> CloneCost:
    """Make an environment that shares its files with another one, and does not know it. Raises OSError."""
    cost = CloneCost()
    old, new = os.fsencode(source), os.fsencode(target)
    for top, directories, files in os.walk(source):
        here, there = Path(top), target / Path(top).relative_to(source)
        there.mkdir(mode=0o755, exist_ok=here == source)  # a disk of its own may be mounted there
        for name in [name for name in directories if (here / name).is_symlink()]:
            _relink(here / name, there / name, source, target)
        for name in files:
            file, place = here / name, there / name
            if file.is_symlink():
                _relink(file, place, source, target)
            elif (here == source and name == "pyvenv.cfg") or (here == source / "bin" and _names(file, old)):
                place.write_bytes(file.read_bytes().replace(old, new))
                place.chmod(file.stat().st_mode & 0o777)
                cost.written += 1
            elif name != _WHOLE:
                _link(file, place, cost)
    return cost


def own_octets(prefix: Path) -> int:
    """The bytes of the files that an environment shares with none."""
    octets = 0
    for top, _, files in os.walk(prefix):
        for name in files:
            status = (Path(top) / name).lstat()
            octets += status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
    return octets


def _names(file: Path, path: bytes) -> bool:
    with file.open("rb") as stream:
        return path in stream.read(_SCRIPT)


def _relink(link: Path, place: Path, source: Path, target: Path) -> None:
    leads = link.readlink()
    place.symlink_to(target / leads.relative_to(source) if leads.is_absolute() and source in leads.parents else leads)


def _link(file: Path, place: Path, cost: CloneCost) -> None:
    try:
        place.hardlink_to(file)
        cost.linked += 1
    except OSError as error:
        if error.errno not in _COPIES:
            raise
        shutil.copy2(file, place)
        cost.written += 1


def _install(configuration: Configuration, prefix: Path, requirements: Sequence[PinnedDistribution], ends: float) -> None:
    settings = configuration.settings.upgrade
    listed = prefix / "requirements.txt"
    listed.write_text(pinned_text(list(requirements)))
    arguments = ["install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--force-reinstall", "-r", str(listed)]
    if settings.index not in ("", "pip"):
        arguments += ["--index-url", settings.index]
    elif not settings.index:
        arguments += ["--no-index"]
    if settings.wheels:
        arguments += ["--find-links", str(Path(settings.wheels).absolute())]
    done = pip(prefix, arguments, ends)
    if done.status:
        refused = [line for line in done.log.splitlines() if line.startswith("ERROR:")]
        raise CandidateFailed(f"pip refused it: {' '.join(refused)[:400] or f'status {done.status}'}", done.log)


def pip(prefix: Path, arguments: Sequence[str], ends: float) -> ToolRun:
    """Run an environment's own pip until `ends`, monotonic seconds. Raises CandidateFailed when it takes longer."""
    done = tools.run(
        [str(environment.python_of(prefix)), "-P", "-m", "pip", *arguments],
        ends,
        settled=tools.plain_environment() | _PIP,
        directory=prefix,
    )
    if done.status is None:
        raise CandidateFailed(f"pip {arguments[0]} took longer than it may", done.log)
    return done


def _complaints(prefix: Path, ends: float) -> list[str]:
    """What `pip check` says is wrong in an environment; something may be before as well."""
    done = pip(prefix, ["check"], ends)
    if done.status not in (0, 1):  # cut off: what it did not say is not well because of that
        raise CandidateFailed(f"pip check ended with {done.status}", done.log)
    return [line for line in done.out.splitlines() if line and not line.startswith("No broken")]


def _hold_to(prefix: Path, requirements: Sequence[PinnedDistribution]) -> None:
    installed = environment.distributions(prefix)
    for each in requirements:
        if installed.get(environment.normalized(each.name)) is None:
            raise CandidateFailed(f"{each.name} was not installed")
