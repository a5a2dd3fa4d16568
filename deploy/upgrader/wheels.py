"""Which wheels a requirement means, with their hashes: of the directory that the configuration names, or of the configured index.

Used by the `batos` command, before it wishes: whoever wishes pins what it has seen. A requirement is `NAME==VERSION`, with `@sha256:…`
behind it where the hash comes from elsewhere.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from packaging.version import InvalidVersion, Version

from deploy import environment
from deploy.settings import Configuration
from deploy.upgrader import candidate, wheel_directory
from deploy.upgrader.candidate import CandidateFailed
from deploy.upgrader.instructions import BadInstructions, PinnedDistribution
from deploy.upgrader.wheel_directory import NewerVersion

_DOWNLOAD_S: Final = 600.0


def pinned(configuration: Configuration, requirement: str) -> PinnedDistribution:
    """The requirement with the hashes of its wheels. Raises BadInstructions where it names no version, or one that is not there."""
    name, equal, rest = requirement.partition("==")
    version, _, given = rest.partition("@")
    if not equal or not name.strip() or not version.strip():
        raise BadInstructions(f"{requirement!r} names no version; write NAME==VERSION")
    name, version = name.strip(), version.strip()
    if given:
        return PinnedDistribution(name, version, [given.strip()])
    hashes = list(_hashes(configuration, name, version)) or list(_downloaded(configuration, name, version))
    if not hashes:
        where = configuration.settings.upgrade.wheels or "upgrade.wheels, which is not set"
        raise BadInstructions(f"there is no wheel of {name} {version} in {where}, and no index is configured that has one")
    return PinnedDistribution(name, version, hashes[:64])


def newer(configuration: Configuration) -> dict[str, NewerVersion]:
    """Distributions of which the directory has a newer version than is in force, by name."""
    installed = environment.distributions(environment.prefix_in_force(configuration.home))
    return wheel_directory.newer(configuration.settings.upgrade.wheels, installed)


def outdated_at_index(configuration: Configuration, seconds: float) -> dict[str, NewerVersion]:
    """Distributions of which the configured index has a newer version, by name; asks it for each that is installed.

    Raises CandidateFailed where it does not answer in time, or not as pip does.
    """
    index = configuration.settings.upgrade.index
    arguments = ["list", "--outdated", "--format", "json", *(["--index-url", index] if index != "pip" else [])]
    done = candidate.pip(environment.prefix_in_force(configuration.home), arguments, time.monotonic() + seconds)
    try:
        listed = msgspec.json.decode(done.out, type=list[dict[str, str]])
        seen = {environment.normalized(each["name"]): NewerVersion(each["version"], each["latest_version"]) for each in listed}
    except (msgspec.DecodeError, KeyError) as error:
        raise CandidateFailed(f"pip ended with {done.status}", done.log) from error
    return dict(sorted(seen.items()))


def in_directory(configuration: Configuration, name: str, version: str) -> list[str]:
    """The hashes of the directory's wheels of that name and version. Raises BadInstructions for what is no version."""
    return list(_hashes(configuration, name, version))


def _hashes(configuration: Configuration, name: str, version: str) -> Iterator[str]:
    try:
        wanted = Version(version)
    except InvalidVersion as error:
        raise BadInstructions(f"{version!r} is no version") from error
    for wheel in wheel_directory.wheels(configuration.settings.upgrade.wheels):
        if wheel.name == environment.normalized(name) and wheel.version == wanted:
            yield _digest(wheel.file)


def _downloaded(configuration: Configuration, name: str, version: str) -> Iterator[str]:
    index = configuration.settings.upgrade.index
    if not index:
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments = ["download", "--no-deps", "--only-binary", ":all:", "--dest", temporary, f"{name}=={version}"]
        arguments += ["--index-url", index] if index != "pip" else []
        try:
            done = candidate.pip(Path(sys.prefix), arguments, time.monotonic() + _DOWNLOAD_S)
        except CandidateFailed as failed:
            raise BadInstructions(f"the index does not answer: {failed}") from failed
        if done.status:
            refused = [line for line in done.log.splitlines() if line.startswith("ERROR:")]
            raise BadInstructions(f"the index does not have {name} {version}: {' '.join(refused)[:300]}")
        yield from map(_digest, sorted(Path(temporary).glob("*.whl")))


def _digest(wheel: Path) -> str:
    with wheel.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
