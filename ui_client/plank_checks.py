"""What `batos doctor` says is old of what the service is made of: distributions, environments, the image's own structure. Reads only.

No network is used, unless an index is configured (`upgrade.index`): then that is asked.
"""

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from deploy import environment, service
from deploy.settings import Configuration
from deploy.upgrader import candidate, tools, wheels
from deploy.upgrader.candidate import CandidateFailed
from deploy.upgrader.switching import prefixes_in_use
from deploy.upgrader.wheel_directory import NewerVersion
from ui_client.check import Check
from ui_client.connection import listens

_INDEX_S: Final = 60.0
_IMAGE_S: Final = 20.0


class _ImageShape(msgspec.Struct, frozen=True):
    """The shape that the image has, and the one that this version writes."""

    shape: int
    known: int


def planks(configuration: Configuration) -> Iterator[Check]:
    """All of it, in the order in which a person reads it."""
    yield _environment(configuration)
    yield from _old(wheels.newer(configuration), configuration.settings.upgrade.wheels)
    if configuration.settings.upgrade.index:
        yield from _index(configuration)
    yield from _environments(configuration)
    if listens(str(configuration.home.zeo_socket)):
        yield _shape(configuration)


def _environment(configuration: Configuration) -> Check:
    home = configuration.home
    current, outdated = environment.in_force(home), environment.is_outdated(home)
    seen = f"{environment.prefix_in_force(home)}, {f'of upgrade {current.upgrade}' if current else 'as it was set up'}"
    remedy = "what the service was set up in changed after the last upgrade, and is in force again; upgrade anew" if outdated else ""
    return Check("environment", not outdated, False, seen, remedy)


def _old(newer: dict[str, NewerVersion], where: str) -> Iterator[Check]:
    for name, versions in sorted(newer.items()):
        finding = f"{versions.has}; {versions.newest} is in {where}"
        yield Check(f"{name} is old", False, False, finding, f"batos upgrade {name}=={versions.newest}")


def _index(configuration: Configuration) -> Iterator[Check]:
    index = configuration.settings.upgrade.index
    where = "pip's index" if index == "pip" else index
    try:
        outdated = wheels.outdated_at_index(configuration, _INDEX_S)
    except CandidateFailed as failed:
        yield Check("index", False, False, f"{where} does not say what is old: {failed}", "look at upgrade.index, and at the network")
        return
    yield Check("index", True, False, f"{where} has newer versions of {len(outdated)} distributions")
    yield from _old(outdated, where)


def _environments(configuration: Configuration) -> Iterator[Check]:
    """What `batos upgrades prune` would free, beyond what is kept to go back to."""
    try:
        used = prefixes_in_use(configuration)
    except service.ServiceError:
        used = []
    try:
        prunable = candidate.prunable(configuration, used, configuration.settings.upgrade.kept)
    except CandidateFailed as failed:
        yield Check("environments", False, False, str(failed), "name another place in upgrade.environments")
        return
    if prunable:
        octets = sum(candidate.own_octets(prefix) for prefix in prunable.values())
        finding = f"{len(prunable)} that nobody uses, of the upgrades {', '.join(map(str, prunable))}: {octets / 1e6:.1f} MB of their own"
        yield Check("environments", False, False, finding, f"batos upgrades prune --keep {configuration.settings.upgrade.kept}")


def _shape(configuration: Configuration) -> Check:
    """The image's structure, as the environment in force knows it."""
    interpreter = environment.interpreter(configuration.home)
    done = tools.run(
        tools.module(interpreter, "uvm.awakening.identity", "--wait", "5"),
        time.monotonic() + _IMAGE_S,
        settled=tools.environment_of(interpreter, configuration),
        directory=configuration.home.path,
    )
    try:
        image = msgspec.json.decode(done.out, type=_ImageShape)
    except msgspec.DecodeError:
        why = (done.err.strip().splitlines() or [f"no answer within {_IMAGE_S:.0f} s"])[-1]
        return Check("image's structure", False, False, why[:300], "`batos logs image` and `batos upgrades` say more")
    old = image.shape < image.known
    finding = f"shape {image.shape}" + (f"; this version writes shape {image.known}" if old else "")
    return Check("image's structure", not old, False, finding, "the next `batos up` brings it up to date" if old else "")
