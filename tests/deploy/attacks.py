"""What native code in a server that was taken over would try, and which layers of confinement hold it, each with the others off.

`python -m tests.deploy.attacks LAYER,… DIRECTORY VICTIM PORT` confines itself like a UVM with these layers alone, tries everything,
and prints a line of JSON for each attack: [name, held, detail]. `HOLDS` is the table of `docs/security.md`; `test_layers.py` proves it.
"""

import ctypes
import fcntl
import json
import mmap
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deploy.confinement import LAYERS, Profile, change_to, confine
from deploy.profiles import python_paths

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mmap.restype = ctypes.c_void_p

SHARED_KEY = 0x42415453
QUEUE = b"/batos-attacked"
_X86 = {"io_uring_setup": 425, "mseal": 462, "add_key": 248, "process_vm_readv": 310, "ioprio_set": 251, "userfaultfd": 323, "bpf": 321}
_ARM = {"io_uring_setup": 425, "mseal": 462, "add_key": 217, "process_vm_readv": 270, "ioprio_set": 30, "userfaultfd": 282, "bpf": 280}
_NUMBERS = _X86 if os.uname().machine == "x86_64" else _ARM
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000


class AttackTarget:
    """Where the attacks happen: `outside` belongs to root alone, `home` is the server's own, `shared` is what it may read."""

    def __init__(self, directory: Path, victim: int) -> None:
        self.outside, self.home, self.shared = directory / "outside", directory / "home", directory / "shared"
        self.secret = self.outside / "secret"
        self.listener = self.outside / "listener.sock"
        self.abstract = f"\0batos-{directory}"
        self.victim = victim
        self.port = 0


def _call(name: str, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(_NUMBERS[name]), *arguments), name)


def _checked(result: int, name: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _set_flags(target: AttackTarget) -> None:
    descriptor = os.open(target.secret, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, 0x40086602, (0x40).to_bytes(8, sys.byteorder))  # FS_IOC_SETFLAGS: no dump
    finally:
        os.close(descriptor)


def _executable(flags: int) -> Callable[[AttackTarget], None]:
    def attack(_target: AttackTarget) -> None:
        with mmap.mmap(-1, 4096, prot=flags) as page:
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            _checked(_libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 5), "mprotect")

    return attack


def _fork(_target: AttackTarget) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _trace(target: AttackTarget) -> None:
    _checked(_libc.ptrace(0x4206, target.victim, 0, 0), "ptrace")  # PTRACE_SEIZE, which stops nobody
    _libc.ptrace(17, target.victim, 0, 0)


def _look_into(target: AttackTarget) -> None:
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    remote = (ctypes.c_uint64 * 2)(0, 8)
    try:
        _call("process_vm_readv", target.victim, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0))
    except OSError as error:
        if error.errno != 14:  # a bad address there: it was looked for
            raise


def _connect(family: socket.AddressFamily, address: Callable[[AttackTarget], object]) -> Callable[[AttackTarget], None]:
    def attack(target: AttackTarget) -> None:
        with socket.socket(family) as probe:
            probe.settimeout(2)
            probe.connect(address(target))

    return attack


def _listen(_target: AttackTarget) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))


def _send_datagram(target: AttackTarget) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"x", ("127.0.0.1", target.port))


def _netlink(_target: AttackTarget) -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def _shared_memory(_target: AttackTarget) -> None:
    _checked(_libc.shmget(SHARED_KEY, 4096, 0o600), "shmget")


def _message_queue(_target: AttackTarget) -> None:
    os.close(_checked(_libc.mq_open(QUEUE, os.O_RDWR), "mq_open"))


def _many_bytes(_target: AttackTarget) -> None:
    with mmap.mmap(-1, 4 << 30):
        pass


def _process_of(target: AttackTarget) -> None:
    (Path("/proc") / str(target.victim) / "environ").read_bytes()


def _affinity(target: AttackTarget) -> None:
    os.sched_setaffinity(target.victim, os.sched_getaffinity(0))


def _pidfd(target: AttackTarget) -> None:
    descriptor = os.pidfd_open(target.victim)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGWINCH)
    finally:
        os.close(descriptor)


def _key(_target: AttackTarget) -> None:
    _call("add_key", b"user", b"batos", b"x", ctypes.c_size_t(1), ctypes.c_int(-2))  # into the process's own keyring


def _become(_target: AttackTarget) -> None:
    os.execv("/bin/echo", ["echo", json.dumps(["become another program", False, ""])])


def _mount(target: AttackTarget) -> None:
    mount_point = os.fsencode(target.home / "mnt")
    _checked(_libc.mount(b"tmpfs", mount_point, b"tmpfs", 0, None), "mount")
    _checked(_libc.umount2(mount_point, 0), "umount2")


def _watch_outside(target: AttackTarget) -> None:
    descriptor = _checked(_libc.inotify_init1(0), "inotify_init1")
    try:
        _checked(_libc.inotify_add_watch(descriptor, os.fsencode(target.secret), 2), "inotify_add_watch")
    finally:
        os.close(descriptor)


ATTACKS: dict[str, Callable[[AttackTarget], object]] = {
    # files outside
    "read a file outside": lambda target: target.secret.read_text(),
    "write a file outside": lambda target: target.secret.write_text("secret"),
    "make a file outside": lambda target: (target.outside / f"new-{os.getpid()}").write_text("x"),
    "link a file out": lambda target: os.link(target.secret, target.outside / f"link-{os.getpid()}"),
    "make a file outside set-user-id": lambda target: target.secret.chmod(0o4777),
    "give a file outside away": lambda target: os.chown(target.secret, 65534, 65534),
    "set an attribute of a file outside": lambda target: os.setxattr(target.secret, "user.batos", b"x"),
    "set flags of a file outside": _set_flags,
    "set the times of a file outside": lambda target: os.utime(target.secret),
    "watch a file outside": _watch_outside,
    "write what it may read": lambda target: (target.shared / f"written-{os.getpid()}").write_text("x"),
    "make its own file set-user-id": lambda target: (target.home / "own").chmod(0o4755),
    "make a device": lambda target: os.mknod(target.home / f"device-{os.getpid()}", 0o60600, os.makedev(7, 0)),
    # others' processes
    "signal another process": lambda target: os.kill(target.victim, signal.SIGWINCH),
    "signal another process by its descriptor": _pidfd,
    "trace another process": _trace,
    "read another process's memory": _look_into,
    "read another process's environment": _process_of,
    "limit another process": lambda target: resource.prlimit(target.victim, resource.RLIMIT_NOFILE, (64, 64)),
    "slow another process down": lambda target: os.setpriority(os.PRIO_PROCESS, target.victim, 5),
    "move another process to a processor": _affinity,
    # the machine
    "run before everybody (SCHED_FIFO)": lambda _target: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)),
    "run before others (nice -20)": lambda _target: os.setpriority(os.PRIO_PROCESS, 0, -20),
    "read the disk before others": lambda _target: _call("ioprio_set", 1, 0, 1 << 13),
    "take memory without end": _many_bytes,
    "mount a file system": _mount,
    "leave its mount namespace": lambda _target: _checked(_libc.unshare(_CLONE_NEWNS), "unshare"),
    "make a user namespace": lambda _target: _checked(_libc.unshare(_CLONE_NEWUSER), "unshare"),
    "set a kernel key": _key,
    "use io_uring": lambda _target: os.close(_call("io_uring_setup", 1, ctypes.create_string_buffer(120))),
    "make a call that is newer than the list": lambda _target: _call("mseal", 0, 0, 0),
    # ways out
    "map memory that runs": _executable(7),
    "make memory run": _executable(3),
    "open shared memory of others": _shared_memory,
    "open a message queue of others": _message_queue,
    "connect to a Unix socket elsewhere": _connect(socket.AF_UNIX, lambda target: str(target.listener)),
    "connect to an abstract socket": _connect(socket.AF_UNIX, lambda target: target.abstract),
    "connect over TCP": _connect(socket.AF_INET, lambda target: ("127.0.0.1", target.port)),
    "listen on TCP": _listen,
    "send over UDP": _send_datagram,
    "make a netlink socket": _netlink,
    "fork": _fork,
    # Last: it does not come back.
    "become another program": _become,
}

_VIEW, _USER, _CAPABILITIES, _FILES, _CALLS = "view", "user", "capabilities", "files", "system calls"

HOLDS: dict[str, set[str]] = {
    "read a file outside": {_VIEW, _USER, _FILES},
    "write a file outside": {_VIEW, _USER, _FILES},
    "make a file outside": {_VIEW, _USER, _FILES},
    "link a file out": {_VIEW, _USER, _FILES},
    "make a file outside set-user-id": {_VIEW, _USER, _CALLS},
    "give a file outside away": {_VIEW, _USER, _CAPABILITIES, _CALLS},
    "set an attribute of a file outside": {_VIEW, _USER, _CALLS},
    "set flags of a file outside": {_VIEW, _USER, _FILES, _CALLS},
    "set the times of a file outside": {_VIEW, _USER, _CALLS},
    "watch a file outside": {_VIEW, _USER, _CALLS},
    "write what it may read": {_VIEW, _USER, _FILES},
    "make its own file set-user-id": {_USER, _CALLS},
    "make a device": {_USER, _CAPABILITIES, _FILES, _CALLS},
    "signal another process": {_USER, _FILES, _CALLS},
    "signal another process by its descriptor": {_USER, _FILES, _CALLS},
    "trace another process": {_USER, _FILES, _CALLS},
    "read another process's memory": {_USER, _FILES, _CALLS},
    "read another process's environment": {_VIEW, _USER, _FILES},
    "limit another process": {_USER, _CALLS},
    "slow another process down": {_USER, _CALLS},
    "move another process to a processor": {_USER, _CALLS},
    "run before everybody (SCHED_FIFO)": {_USER, _CAPABILITIES, _CALLS},
    "run before others (nice -20)": {_USER, _CAPABILITIES, _CALLS},
    "read the disk before others": {_USER, _CAPABILITIES, _CALLS},
    "take memory without end": {"limits"},
    "mount a file system": {_USER, _CAPABILITIES, _FILES, _CALLS},
    "leave its mount namespace": {_USER, _CAPABILITIES, _CALLS},
    "make a user namespace": {_CALLS},
    "set a kernel key": {_CALLS},
    "use io_uring": {_CALLS},
    "make a call that is newer than the list": {_CALLS},
    "map memory that runs": {_CALLS},
    "make memory run": {_CALLS},
    "open shared memory of others": {_VIEW, _USER, _CALLS},
    "open a message queue of others": {_VIEW, _USER, _FILES, _CALLS},
    "connect to a Unix socket elsewhere": {_VIEW, _USER},
    "connect to an abstract socket": {_VIEW, _FILES},
    "connect over TCP": {_VIEW, _FILES, _CALLS},
    "listen on TCP": {_FILES, _CALLS},
    "send over UDP": {_VIEW, _CALLS},
    "make a netlink socket": {_CALLS},
    "fork": {_CALLS},
    "become another program": {_VIEW, _FILES, _CALLS},
}
"""Attack → the layers each of which holds it alone, for a process that root started."""

ALONE = ("limits", "view", "user", "capabilities", "files", "system calls")


def table() -> str:
    """`HOLDS` as it stands in the document."""
    rows = [f"| {name} | " + " | ".join("held" if layer in HOLDS[name] else "" for layer in ALONE) + " |" for name in ATTACKS]
    return "\n".join([f"| attack | {' | '.join(ALONE)} |", "| --- " * (len(ALONE) + 1) + "|", *rows]) + "\n"


def _write_line(line: Sequence[Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    target = AttackTarget(Path(sys.argv[2]), int(sys.argv[3]))
    target.port = int(sys.argv[4])
    chosen = [name for name in LAYERS if name in sys.argv[1].split(",")]
    profile = Profile(
        read=(*python_paths(), target.shared),
        write=(target.home,),
        network="unix",
        memory_mb=1024,
        layers=tuple(chosen),
    )
    if chosen == ["user"]:
        change_to(pwd.getpwnam("nobody"))
        _write_line(chosen)
    else:
        _write_line([layer.name for layer in (confine(profile) if chosen else []) if layer.in_force])
    for name, attack in ATTACKS.items():
        try:
            attack(target)
        except (OSError, MemoryError, ValueError) as error:
            _write_line([name, True, f"{type(error).__name__}: {error}"])
        else:
            _write_line([name, False, ""])


if __name__ == "__main__":
    main()
