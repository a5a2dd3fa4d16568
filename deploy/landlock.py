"""Landlock, the kernel's own file and network rules for one process, by its three system calls.

Used by `deploy.confinement` only. A ruleset is a descriptor: it can be made before a fork and enforced after it, in
any number of children. It binds the calling thread and every thread and process that this one starts later.
"""

import ctypes
import enum
import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _PORT = 1, 2


class FileAccess(enum.IntFlag):
    """What can be done with files; the comment says since which version of Landlock."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # 2
    TRUNCATE = 1 << 14  # 3
    IOCTL_DEV = 1 << 15  # 5


READ = FileAccess.READ_FILE | FileAccess.READ_DIR
WRITE = (
    READ
    | FileAccess.WRITE_FILE
    | FileAccess.TRUNCATE
    | FileAccess.REMOVE_DIR
    | FileAccess.REMOVE_FILE
    | FileAccess.MAKE_DIR
    | FileAccess.MAKE_REG
    | FileAccess.MAKE_SOCK
    | FileAccess.MAKE_FIFO
    | FileAccess.MAKE_SYM
    | FileAccess.REFER
)
_OF_FILES = FileAccess.EXECUTE | FileAccess.WRITE_FILE | FileAccess.READ_FILE | FileAccess.TRUNCATE | FileAccess.IOCTL_DEV
_SINCE = {FileAccess.REFER: 2, FileAccess.TRUNCATE: 3, FileAccess.IOCTL_DEV: 5}
_BIND_TCP, _CONNECT_TCP = 0b01, 0b10
_TCP_SINCE = 4
_ABSTRACT_SOCKETS, _SIGNALS = 0b01, 0b10
_SCOPES_SINCE = 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def version() -> int:
    """The kernel's version of Landlock; 0 where it has none or has it switched off."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def network_since(abi: int) -> bool:
    """Whether this version can refuse TCP."""
    return abi >= _TCP_SINCE


def scopes_since(abi: int) -> bool:
    """Whether this version can refuse signals and abstract sockets."""
    return abi >= _SCOPES_SINCE


def ruleset(
    rules: Iterable[tuple[Path, FileAccess]],
    *,
    listen: Collection[int] | None,
    connect: Collection[int] | None,
    foreign_signals: bool,
    abstract_sockets: bool,
) -> int:
    """Make a ruleset: what `rules` does not allow beneath its paths is refused. Returns its descriptor.

    `listen` and `connect` are the TCP ports that stay allowed, None: all. `foreign_signals` and `abstract_sockets` say what
    stays allowed; where the kernel is too old to refuse them they stay allowed anyway. Paths that do not exist are left out.
    Raises OSError without Landlock.
    """
    abi = version()
    handled = FileAccess(0)
    for right in FileAccess:
        if abi >= _SINCE.get(right, 1):
            handled |= right
    scoped = (0 if foreign_signals else _SIGNALS) | (0 if abstract_sockets else _ABSTRACT_SOCKETS)
    ports = {_BIND_TCP: listen, _CONNECT_TCP: connect} if network_since(abi) else {}
    attributes = _Ruleset(
        files=int(handled),
        network=sum(right for right, allowed in ports.items() if allowed is not None),
        scoped=scoped if scopes_since(abi) else 0,
    )
    size = 24 if scopes_since(abi) else 16 if network_since(abi) else 8
    descriptor = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path, rights in rules:
            _allow(descriptor, path, rights & handled)
        for network, allowed in ports.items():
            for port in allowed or ():
                _add(descriptor, _PORT, _Port(allowed=network, port=port))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def enforce(descriptor: int) -> None:
    """Bind the calling thread to the ruleset. It must have given up new privileges before. Raises OSError."""
    _call(_RESTRICT_SELF, ctypes.c_int(descriptor), ctypes.c_uint32(0))


def _allow(descriptor: int, path: Path, rights: FileAccess) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        _add(descriptor, _PATH_BENEATH, _PathBeneath(allowed=int(rights), parent=parent))
    finally:
        os.close(parent)


def _add(descriptor: int, kind: int, rule: ctypes.Structure) -> None:
    _call(_ADD_RULE, ctypes.c_int(descriptor), ctypes.c_int(kind), ctypes.byref(rule), ctypes.c_uint32(0))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock system call {number}: {os.strerror(code)}")
    return result
