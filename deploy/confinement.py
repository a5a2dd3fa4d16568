"""Confinement: what a process that runs generated code, or reads foreign bytes, can no longer do.

`confine` is called once, by the main thread of a process, before it starts other threads and after it opened what it
needs: landlock binds the calling thread and the threads and processes that come after it (seccomp and the limits bind
all threads there are). Nothing of it can be taken back. What a host lacks is reported, layer by layer, never passed
over: the caller logs it, and decides with `sufficient` whether it goes on. `enter` does all of that for a server.

Which process gets which profile is in `deploy.profiles`; what each layer holds, with every other one off, in
`docs/security.md`. `python -m deploy.confinement` confines itself like a trial and prints the layers as JSON; `available` runs that.
"""

import contextlib
import ctypes
import json
import os
import pwd
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct

from deploy import capabilities, landlock, namespaces, seccomp
from deploy.capabilities import Capability
from deploy.process import die_with_parent, no_new_privileges, parent_death_signal

_MB = 1024 * 1024
_PROBE_TIMEOUT_S = 20.0
_PR_SET_DUMPABLE = 4

LayerName = Literal["limits", "view", "user", "capabilities", "files", "tcp", "system calls"]
LAYERS: tuple[LayerName, ...] = ("limits", "view", "user", "capabilities", "files", "tcp", "system calls")


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stays allowed. The default is nothing at all but to compute and to use what is open.

    `bare`: a trial child; only computing, and talking over open pipes. Otherwise a server, which keeps every system
    call that it may need within the other fields. `read`, `listed`, `write`: files and directories, with what is beneath
    them (`listed`: only the names; `write` includes reading, not running). `visible` and `hidden`: what the process's own view of
    the files shows writable, where that is more than `write`, and leaves out, such as directories of sockets. `network`: making Unix
    sockets, or TCP ones too, to listen on and connect to these ports (None: any); `alone`: in a network of its own, with nothing but a
    loopback device; `abstract`: Unix sockets without a file; `resolve`: looking host names up; `accounts`: telling other accounts
    apart. Listeners that are open go on in each case.
    `user`: the account to change to when started as root, `owned`: directories that it gets then. `memory_mb`: address space beyond
    what the process has when it is confined; `data_mb`: memory that it can write, all of it. `files`: open descriptors.
    `layers`: those to put in force; the others are left out, and reported so.
    """

    bare: bool = False
    read: tuple[Path, ...] = ()
    listed: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    visible: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    network: Literal["none", "unix", "tcp"] = "none"
    listen: tuple[int, ...] | None = ()
    connect: tuple[int, ...] | None = ()
    alone: bool = False
    abstract: bool = False
    accounts: bool = False
    resolve: bool = False
    execute: bool = False
    fork: bool = False
    signals: Literal["none", "children", "pidfd"] = "none"
    native_code: bool = False
    keep: tuple[Capability, ...] = ()
    user: str = ""
    owned: tuple[Path, ...] = ()
    memory_mb: int | None = None
    data_mb: int | None = None
    cpu_s: int | None = None
    file_mb: int | None = None
    files: int | None = None
    layers: tuple[LayerName, ...] = LAYERS


class Layer(Struct, frozen=True):
    """One layer of confinement: in force, or why not. `required`: without it the process is not confined."""

    name: str
    in_force: bool
    reason: str
    required: bool = True


class ConfinementReport(Struct, frozen=True):
    """What a running process says of its layers, in `run/confinement/<process>.json`."""

    process: str
    pid: int
    layers: list[Layer]


def confine(profile: Profile) -> list[Layer]:
    """Confine this process for good; return what is in force. Raises nothing for what the host lacks.

    Raises OSError when the host has a layer and refuses it, and ValueError for a profile that contradicts itself.
    """
    if profile.bare and (profile.read or profile.write or profile.network != "none" or profile.execute or profile.fork):
        raise ValueError("a bare profile allows no files, network, programs or processes; leave those fields out")
    # What needs files, and rights that are about to go, comes first.
    preload()
    rules, filter_layer = _prepare_filter(profile)
    account, refused_user = _account(profile)
    layers = [_limit(profile)]
    keep = profile.keep
    if not profile.bare:
        layers.append(_enter_view(profile))
        if account is not None and (reason := _tried(lambda: _use_as(account, profile))):
            refused_user = Layer("user", False, f"{profile.user} cannot work here, stays uid 0: {reason}", required=False)
            keep = (*keep, Capability.DAC_OVERRIDE)  # the home is that account's
    ruleset, files_layers = _prepare_files(profile, alone=any(layer.name == "view" and layer.in_force for layer in layers))
    bound = "capabilities" in profile.layers and capabilities.bound(keep)
    if not profile.execute and "capabilities" in profile.layers:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no other process of the account may look inside
    layers += [refused_user or _become(account, profile), _drop_capabilities(profile, keep, bound), *files_layers, filter_layer]
    no_new_privileges()
    if ruleset is not None:
        landlock.enforce(ruleset)
        os.close(ruleset)
    if rules is not None:
        if not profile.bare:
            seccomp.refuse_unknown_calls()
        seccomp.load(rules)
    return layers


def enter(process: str, profile: Profile, run: Path | None) -> bool:
    """Confine a server, log each layer, and leave a report in the run directory; whether every required layer is in force."""
    log = structlog.get_logger()
    report_file = Path(os.devnull)
    if run is not None:
        report_file = run / "confinement" / f"{process}.json"
        report_file.parent.mkdir(parents=True, exist_ok=True)
    # Opened before, since nothing can be opened there afterwards.
    with report_file.open("wb") as file:
        layers = confine(profile)
        file.write(msgspec.json.encode(ConfinementReport(process, os.getpid(), layers)))
    for layer in layers:
        (log.info if layer.in_force else log.warning)("confinement", layer=layer.name, in_force=layer.in_force, reason=layer.reason)
    return sufficient(layers)


def preload() -> None:
    """Load the libraries that `confine`, and a confined process, needs. A server that forks confined children calls it once, before."""
    seccomp.why_not()
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # the C library loads it when a thread ends, and gives up without


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


# --- one layer each ---------------------------------------------------------------------------------------------------


def _limit(profile: Profile) -> Layer:
    if "limits" not in profile.layers:
        return _left_out("limits")
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
    if profile.data_mb is not None:
        _lower(resource.RLIMIT_DATA, profile.data_mb * _MB)
        limited.append(f"{profile.data_mb} MB of data")
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


def _enter_view(profile: Profile) -> Layer:
    if "view" not in profile.layers:
        return _left_out("view", required=False)
    view = namespaces.FilesystemView(
        read=(*profile.read, *profile.listed),
        write=(*profile.write, *profile.visible),
        hide=profile.hidden,
        run=profile.execute or profile.native_code,
        loopback=None if profile.abstract or (profile.network == "tcp" and not profile.alone) else profile.alone,
        accounts=profile.accounts,
    )
    # A view that cannot be finished would leave the process in half of it: a child tries first.
    reason = _tried(lambda: namespaces.enter(view))
    if reason:
        return Layer("view", False, f"this host refuses own namespaces: {reason}", required=False)
    namespaces.enter(view)
    return Layer("view", True, "own files" + ("" if view.loopback is None else ", own network"), required=False)


def _tried(step: Callable[[], None]) -> str:
    """Why `step` fails in a child; empty when it does not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            step()
        except OSError as error:
            os.write(writer, str(error).encode()[:4096])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reason = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return reason or (f"a child ended with status {status}" if status else "")


def _account(profile: Profile) -> tuple[pwd.struct_passwd | None, Layer | None]:
    """The account to change to, or the layer that says why there is none."""
    if "user" not in profile.layers:
        return None, _left_out("user", required=False)
    if not profile.user:
        return None, Layer("user", True, f"stays uid {os.getuid()}", required=False)
    if os.getuid() != 0:
        return None, Layer("user", False, f"not started as root, so it shares uid {os.getuid()} with the service", required=False)
    try:
        return pwd.getpwnam(profile.user), None
    except KeyError:
        return None, Layer("user", False, f"this host has no user {profile.user}", required=False)


def _become(account: pwd.struct_passwd | None, profile: Profile) -> Layer:
    if account is None:
        return Layer("user", True, f"stays uid {os.getuid()}", required=False)
    death_signal = parent_death_signal()
    change_to(account)
    if death_signal:
        die_with_parent(death_signal)  # the kernel forgets it when the user changes
    return Layer("user", True, profile.user, required=False)


def change_to(account: pwd.struct_passwd) -> None:
    """Become this account, for good. Raises OSError."""
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def _use_as(account: pwd.struct_passwd, profile: Profile) -> None:
    """Read Python and what the account gets, as that account. Raises OSError."""
    for directory in profile.owned:
        if directory.is_dir():
            os.chown(directory, account.pw_uid, account.pw_gid)
    change_to(account)
    for directory in (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parent, *profile.owned):
        if directory.is_dir():
            list(directory.iterdir())


def _drop_capabilities(profile: Profile, keep: tuple[Capability, ...], bound: bool) -> Layer:
    if "capabilities" not in profile.layers:
        return _left_out("capabilities", required=False)
    capabilities.drop(keep)
    effective = capabilities.effective()
    names = ", ".join(capability.name.lower() for capability in keep if effective >> capability & 1)
    return Layer("capabilities", True, (f"{names} alone" if names else "none") + ("" if bound else ", and none to drop"), required=False)


def _prepare_files(profile: Profile, *, alone: bool) -> tuple[int | None, list[Layer]]:
    if "files" not in profile.layers:
        return None, [_left_out("files"), _left_out("tcp", required=False)]
    version = landlock.version()
    if not version:
        reason = "this kernel has no landlock, or has it switched off"
        return None, [Layer("files", False, reason), Layer("tcp", False, reason, required=False)]
    reading = landlock.READ | (landlock.FileAccess.EXECUTE if profile.execute else landlock.FileAccess(0))
    writing = landlock.WRITE | (landlock.FileAccess.EXECUTE if profile.execute else landlock.FileAccess(0))
    rules = [
        *((path, reading) for path in profile.read),
        *((path, landlock.FileAccess.READ_DIR) for path in profile.listed),
        *((path, writing) for path in profile.write),
    ]
    tcp = profile.network == "tcp"
    ruleset = landlock.ruleset(
        rules,
        listen=profile.listen if tcp else (),
        connect=profile.connect if tcp else (),
        foreign_signals=profile.signals == "pidfd",
        abstract_sockets=profile.abstract,
    )
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        files = Layer("files", False, f"{threads - 1} threads were started before, and are not bound")
    else:
        files = Layer("files", True, f"landlock {version}")
    return ruleset, [files, _tcp_layer(profile, version, alone=alone)]


def _tcp_layer(profile: Profile, version: int, *, alone: bool) -> Layer:
    if not landlock.network_since(version):
        return Layer("tcp", False, "this landlock is too old", required=False)
    if profile.network != "tcp":
        return Layer("tcp", True, f"landlock {version}", required=False)
    if profile.listen is None or profile.connect is None:
        alone = alone and profile.alone
        return Layer("tcp", alone, "the loopback device of its own network alone" if alone else "any port", required=False)
    ports = ", ".join(map(str, sorted({*profile.listen, *profile.connect})))
    return Layer("tcp", True, f"landlock {version}; only the ports {ports}", required=False)


def _prepare_filter(profile: Profile) -> tuple[Any, Layer]:
    if "system calls" not in profile.layers:
        return None, _left_out("system calls")
    allowed = seccomp.Allowed(
        network=profile.network,
        resolve=profile.resolve,
        execute=profile.execute,
        fork=profile.fork,
        signals=profile.signals,
        native_code=profile.native_code,
        accounts=bool(profile.keep),
    )
    try:
        rules = seccomp.trial() if profile.bare else seccomp.server(allowed)
    except seccomp.SeccompUnavailable as error:
        return None, Layer("system calls", False, str(error))
    return rules, Layer("system calls", True, "seccomp")


def _left_out(name: LayerName, *, required: bool = True) -> Layer:
    return Layer(name, False, "left out", required)


def _probe(write: Callable[[bytes], object]) -> None:
    from deploy.profiles import trial_profile

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
