"""A process's own view of the machine: the files that it needs and no others, no network, no shared memory by name.

Used by `deploy.confinement` only. Landlock and seccomp refuse calls; a view leaves nothing to call: a Unix socket that another
program listens on is not there, a file outside has no name, and what is there to be read lies on mounts that nobody can write,
change the rights of, or run set-user-id programs from. It is made of mount, network and IPC namespaces, for which a process
needs root or a kernel that lets every account have user namespaces.
"""

import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from msgspec import Struct

_NEWNS, _NEWIPC, _NEWUSER, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY, _MS_REMOUNT, _MS_BIND = 0x4000, 1 << 18, 2, 4, 8, 1, 32, 0x1000
_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_FROM_DESCRIPTOR = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_MOST_LINKS = 40

Mode = Literal["read", "write", "hide"]


class FilesystemView(Struct, frozen=True, kw_only=True):
    """Paths as they are outside: `read` and `write` appear with what is beneath them, `hide` is empty where it would appear.

    What is named deeper counts. `run`: programs can be run, and libraries loaded, from what appears. `loopback`: whether the own network
    has a loopback device; it has nothing else. None leaves the host's network. `accounts`: other accounts are to be told apart, which
    a user namespace of one account cannot.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    hide: tuple[Path, ...] = ()
    run: bool = False
    accounts: bool = False
    loopback: bool | None = False


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def enter(view: FilesystemView) -> None:
    """Leave the machine's namespaces for own ones. To be called by a process of one thread, which keeps what it has open.

    Raises OSError: PermissionError where the host does not let this process have namespaces, and nothing has changed then.
    """
    _leave(_NEWNS | _NEWIPC | (_NEWNET if view.loopback is not None else 0), user=not view.accounts)
    if view.loopback:
        _start_loopback()
    _mount(None, Path("/"), _MS_REC | _MS_PRIVATE)
    links, modes = _plan(view)
    trees = {path: None if mode == "hide" else _tree(path, mode, run=view.run) for path, mode in modes.items()}
    here = Path.cwd()
    root = Path(tempfile.gettempdir()).resolve()
    _mount("tmpfs", root, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "tmpfs", b"mode=755,size=64k,nr_inodes=4k")
    before = os.umask(0o022)  # the way to what appears is open to every account
    for link, target in links.items():
        _beneath(root, link).parent.mkdir(parents=True, exist_ok=True)
        _beneath(root, link).symlink_to(target)
    for path, tree in trees.items():
        _attach(_beneath(root, path), tree)
    os.umask(before)
    for path in (Path("/"), *(path for path, tree in trees.items() if tree is None)):
        _mount(None, _beneath(root, path), _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    os.chdir(root)
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount2")
    os.chdir(here if here.is_dir() else "/")


def _leave(namespaces: int, *, user: bool) -> None:
    if _libc.unshare(namespaces) == 0:
        return
    code = ctypes.get_errno()
    if code != errno.EPERM or os.geteuid() == 0 or not user:
        raise OSError(code, f"namespaces: {os.strerror(code)}")
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(namespaces | _NEWUSER), "user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _start_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _plan(view: FilesystemView) -> tuple[dict[Path, str], dict[Path, Mode]]:
    """The links that lead to what is shown, and what appears where, outer before inner; paths that do not exist are left out."""
    links: dict[Path, str] = {}
    modes: dict[Path, Mode] = {}
    requested: tuple[tuple[Iterable[Path], Mode], ...] = ((view.read, "read"), (view.write, "write"), (view.hide, "hide"))
    for paths, mode in requested:
        for path in paths:
            if path.exists():
                modes[_follow(path, links)] = mode
    mounts: dict[Path, Mode] = {}
    for path in sorted(modes, key=lambda path: len(path.parts)):
        above = next((mounts[parent] for parent in path.parents if parent in mounts), None)
        if above != modes[path] and not (above is None and modes[path] == "hide"):
            mounts[path] = modes[path]
    visible = [path for path, mode in mounts.items() if mode != "hide"]
    return {link: target for link, target in links.items() if not any(path in link.parents for path in visible)}, mounts


def _follow(path: Path, links: dict[Path, str]) -> Path:
    """Where `path` leads to; the links on the way are added to `links`."""
    rest, here = deque(path.absolute().parts[1:]), Path("/")
    for _ in range(_MOST_LINKS * len(path.parts)):
        if not rest:
            return here
        name = rest.popleft()
        if name == "..":
            here = here.parent
        elif (here / name).is_symlink():
            target = (here / name).readlink()
            links[here / name] = str(target)
            if target.is_absolute():
                here = Path("/")
            rest.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        else:
            here /= name
    raise OSError(errno.ELOOP, f"{path}: {os.strerror(errno.ELOOP)}")


def _tree(path: Path, mode: Mode, *, run: bool) -> int:
    """A copy of the mounts at `path`, which is nowhere yet."""
    whole = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE)
    tree = _checked(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), whole), f"the view of {path}")
    device = stat.S_ISCHR(path.stat().st_mode)
    flags = _ATTR_NOSUID | (0 if run else _ATTR_NOEXEC) | (0 if device else _ATTR_NODEV)
    attributes = _Attributes(set=flags | (_ATTR_RDONLY if mode == "read" and not device else 0))
    _checked(
        _libc.syscall(
            _MOUNT_SETATTR,
            tree,
            b"",
            ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE),
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        ),
        f"the view of {path}",
    )
    return int(tree)


def _attach(target: Path, tree: int | None) -> None:
    if tree is None:
        _mount("tmpfs", target, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "tmpfs", b"mode=755,size=4k,nr_inodes=64")
        return
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.touch()
    moved = _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_MOVE_FROM_DESCRIPTOR))
    os.close(tree)
    _checked(moved, f"the view of {target}")


def _beneath(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _mount(source: str | None, target: Path, flags: int, kind: str | None = None, options: bytes | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, kind)]
    _checked(_libc.mount(encoded[0], os.fsencode(target), encoded[1], ctypes.c_ulong(flags), options), f"mount on {target}")


def _checked(result: int, step: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{step}: {os.strerror(code)}")
    return result
