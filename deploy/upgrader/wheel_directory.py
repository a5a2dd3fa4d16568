"""What lies in a directory of wheels: names and versions, told from the files' names alone.

Called by the `batos` command, by the upgrader, and by the heartbeat, which may list the directory and does no more.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version


class FoundWheel(NamedTuple):
    """A wheel that this Python can install: its file, the distribution's normalized name, and its version."""

    file: Path
    name: str
    version: Version

    @property
    def stated(self) -> str:
        """The version as the file's name has it."""
        return self.file.name.split("-")[1]


class NewerVersion(NamedTuple):
    """The version of a distribution that is installed, and the newest one that there is."""

    has: str
    newest: str


def wheels(directory: str) -> Iterator[FoundWheel]:
    """The wheels of a directory, by name of file; none of an empty name. What fits another Python or machine only is left out."""
    for file in sorted(Path(directory).glob("*.whl")) if directory else ():
        try:
            name, version, _, tags = parse_wheel_filename(file.name)
        except (InvalidWheelFilename, InvalidVersion):
            continue
        if not tags.isdisjoint(_ours()):
            yield FoundWheel(file, str(name), version)


def newer(directory: str, installed: Mapping[str, str]) -> dict[str, NewerVersion]:
    """What of the installed (normalized name → version) is older than what the directory has, by name.

    A pre-release is newer only than another one: nobody gets it who has not begun with it.
    """
    seen: dict[str, NewerVersion] = {}
    for wheel in wheels(directory):
        has = installed.get(wheel.name)
        if has is None:
            continue
        best = seen[wheel.name].newest if wheel.name in seen else has
        if is_newer(wheel.stated, best) and not (wheel.version.is_prerelease and not Version(has).is_prerelease):
            seen[wheel.name] = NewerVersion(has, wheel.stated)
    return seen


def is_newer(version: str, than: str) -> bool:
    """Whether a version is newer than another one; what is no version is neither."""
    try:
        return Version(version) > Version(than)
    except InvalidVersion:
        return False


@cache
def _ours() -> frozenset[Tag]:
    return frozenset(sys_tags())
