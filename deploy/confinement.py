"""Confinement: what a process that runs generated code, or reads foreign bytes, can no longer do.

`confine` is called once, by the main thread of a process, before it starts other threads and after it opened what it
needs: landlock binds the calling thread and the threads and processes that come after it (seccomp and the limits bind
all threads there are). Nothing of it can be taken back. What a host lacks is reported, layer by layer, never passed
over: the caller logs it, and decides with `sufficient` whether it goes on.

`python -m deploy.confinement` confines itself like a trial and prints the layers as JSON; `available` runs that.
"""

import json
import os
import pwd
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from deploy import landlock, seccomp
from deploy.process import die_with_parent, no_new_privileges, parent_death_signal

_MB = 1024 * 1024
_PROBE_TIMEOUT_S = 20.0


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stays allowed. The default is nothing at all but to compute and to use what is open.

    `bare`: a trial child; only computing, and talking over open pipes. Otherwise a server, which keeps every system
    call that it may need within the other fields. `read`, `write`: files and directories, with what is beneath them
    (`write` includes reading, not running). `network`: making Unix sockets, or any; listeners that are open go on
    in each case. `user`: the account to change to when started as root. `memory_mb`: address space beyond
    what the process has when it is confined. `files`: open descriptors.
    """

    bare: bool = False
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    network: Literal["none", "unix", "all"] = "none"
    execute: bool = False
    fork: bool = False
    signals: bool = False
    user: str = ""
    memory_mb: int | None = None
    cpu_s: int | None = None
    file_mb: int | None = None
    files: int | None = None


class Layer(Struct, frozen=True):
    """One layer of confinement: in force, or why not. `required`: without it the process is not confined."""

    name: str
    in_force: bool
    reason: str
    required: bool = True


def confine(profile: Profile) -> list[Layer]:
    """Confine this process for good; return what is in force. Raises nothing for what the host lacks.

    Raises OSError when the host has a layer and refuses it, and ValueError for a profile that contradicts itself.
    """
    if profile.bare and (profile.read or profile.write or profile.network != "none" or profile.execute or profile.fork or profile.signals):
        raise ValueError("a bare profile allows no files, network, programs, processes or signals; leave those fields out")
    # What needs files, and rights that are about to go, comes first.
    rules, filter_layer = _prepare_filter(profile)
    ruleset, files_layers = _prepare_files(profile)
    no_new_privileges()
    layers = [_limit(profile), _change_user(profile), *files_layers, filter_layer]
    if ruleset is not None:
        landlock.enforce(ruleset)
        os.close(ruleset)
    if rules is not None:
        seccomp.load(rules)
    return layers


def preload() -> None:
    """Load the libraries that `confine` needs. A server that forks confined children calls it once, before the first."""
    seccomp.why_not()


def sufficient(layers: Iterable[Layer]) -> bool:
    """Whether every required layer is in force."""
    return all(layer.in_force for layer in layers if layer.required)


def available() -> list[Layer]:
    """The layers that a trial child gets on this host, found by confining a process like one. Takes about 0.2 s."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "deploy.confinement"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        return msgspec.json.decode(done.stdout, type=list[Layer])
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        detail = getattr(error, "stderr", b"") or b""
        return [Layer("confinement", False, f"the probe failed: {error} {detail.decode(errors='replace')[-300:]}".strip())]


def python_paths() -> tuple[Path, ...]:
    """What a Python process reads after it started: its environment, the packages, shared libraries, time zones."""
    roots = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[1]]
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache", "/proc/self"]
    devices = ["/dev/null", "/dev/urandom"]
    entries = [Path(entry) for entry in sys.path if entry and Path(entry) != Path("/")]
    return tuple(dict.fromkeys(path for path in [*roots, *map(Path, [*system, *devices]), *entries] if path.exists()))


def trial_profile(memory_mb: int, cpu_s: int) -> Profile:
    """The trial child: nothing at all, as the user nobody where that can be had."""
    return Profile(bare=True, user="nobody", memory_mb=memory_mb, cpu_s=cpu_s, file_mb=0, files=64)


def image_profile(home: Path, run: Path) -> Profile:
    """The ZEO server: reads Python, reads and writes the home, talks over Unix sockets and listeners that are open."""
    return Profile(read=python_paths(), write=(home, run, Path("/dev/null")), network="unix", file_mb=None, memory_mb=8192)


def uvm_profile(
    writable: Sequence[Path], readable: Sequence[Path] = (), memory_mb: int = 4096, network: Literal["unix", "all"] = "unix"
) -> Profile:
    """A UVM: reads Python and `readable`, writes `writable`, talks over Unix sockets, or over any to inference workers on other hosts.

    Leave the image's own files out of both: a UVM has the image through its server alone.
    """
    return Profile(read=(*python_paths(), *readable), write=(*writable, Path("/dev/null")), network=network, memory_mb=memory_mb)


def _prepare_files(profile: Profile) -> tuple[int | None, list[Layer]]:
    found = landlock.version()
    if not found:
        reason = "this kernel has no landlock, or has it switched off"
        return None, [Layer("files", False, reason), Layer("tcp", False, reason, required=False)]
    reading = landlock.READ | (landlock.Files.EXECUTE if profile.execute else landlock.Files(0))
    rules = [(path, reading) for path in profile.read] + [(path, landlock.WRITE) for path in profile.write]
    ruleset = landlock.ruleset(
        rules, tcp=profile.network == "all", foreign_signals=profile.signals, abstract_sockets=profile.network == "all"
    )
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        files = Layer("files", False, f"{threads - 1} threads were started before, and are not bound")
    else:
        files = Layer("files", True, f"landlock {found}")
    tcp = Layer(
        "tcp",
        landlock.network_since(found) and profile.network != "all",
        f"landlock {found}" if landlock.network_since(found) else "this landlock is too old",
        required=False,
    )
    return ruleset, [files, tcp]


def _limit(profile: Profile) -> Layer:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limited = ["core"]
    if profile.cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (profile.cpu_s, profile.cpu_s + 1))
        limited.append(f"{profile.cpu_s} s")
    if profile.memory_mb is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + profile.memory_mb * _MB
        _lower(resource.RLIMIT_AS, most)
        limited.append(f"+{profile.memory_mb} MB")
    if profile.file_mb is not None:
        _lower(resource.RLIMIT_FSIZE, profile.file_mb * _MB)
        limited.append(f"files of {profile.file_mb} MB")
    if profile.files is not None:
        _lower(resource.RLIMIT_NOFILE, profile.files)
        limited.append(f"{profile.files} descriptors")
    return Layer("limits", True, ", ".join(limited))


def _lower(which: int, most: int) -> None:
    _soft, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(which, (most, most))


def _change_user(profile: Profile) -> Layer:
    if not profile.user:
        return Layer("user", True, f"stays uid {os.getuid()}", required=False)
    if os.getuid() != 0:
        return Layer("user", False, f"not started as root, so it shares uid {os.getuid()} with the service", required=False)
    try:
        account = pwd.getpwnam(profile.user)
    except KeyError:
        return Layer("user", False, f"this host has no user {profile.user}", required=False)
    death_signal = parent_death_signal()
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    if death_signal:
        die_with_parent(death_signal)  # the kernel forgets it when the user changes
    return Layer("user", True, profile.user, required=False)


def _prepare_filter(profile: Profile) -> tuple[Any, Layer]:
    try:
        rules = (
            seccomp.trial()
            if profile.bare
            else seccomp.server(network=profile.network, execute=profile.execute, fork=profile.fork, signals=profile.signals)
        )
    except seccomp.SeccompUnavailable as error:
        return None, Layer("system calls", False, str(error))
    return rules, Layer("system calls", True, "seccomp")


def _probe(write: Callable[[bytes], object]) -> None:
    attack = Path(sys.executable)
    layers = confine(trial_profile(memory_mb=64, cpu_s=5))
    try:
        attack.open("rb").close()
    except PermissionError:
        pass
    else:
        layers.append(Layer("check", False, f"a confined process could open {attack}"))
    write(json.dumps([msgspec.structs.asdict(layer) for layer in layers]).encode())


if __name__ == "__main__":
    _probe(lambda text: os.write(1, text))
