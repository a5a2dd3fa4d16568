"""Capabilities: the rights of root in parts, given up for good.

Used by `deploy.confinement` only. Without them an account with the number 0 owns root's files and nothing more: it passes no
permission, changes no other account's process, raises no priority or limit.
"""

import ctypes
import enum
import os
from collections.abc import Collection

_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 23, 24, 47, 4
_VERSION_3 = 0x2008_0522
_LAST = 63


class Capability(enum.IntEnum):
    """Those that a process of ours keeps somewhere, by their numbers."""

    DAC_OVERRIDE = 1
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_libc = ctypes.CDLL(None, use_errno=True)


def bound(keep: Collection[Capability]) -> bool:
    """Take everything but `keep` out of what this process, or a program that it runs, could ever get back.

    False when the process may not: then it has no capabilities either, or only some that somebody left it.
    """
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    numbers = [number for number in range(_LAST + 1) if _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0]
    refused = [number for number in numbers if number not in keep and _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0]
    return not refused


def drop(keep: Collection[Capability]) -> None:
    """Give up everything but those of `keep` that this process has. Raises OSError when the kernel refuses."""
    had = effective()
    bits = sum(1 << number for number in keep) & had
    sets = (_Set * 2)(*(_Set(bits >> shift & 0xFFFF_FFFF, bits >> shift & 0xFFFF_FFFF, 0) for shift in (0, 32)))
    if _libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), sets) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")


def effective() -> int:
    """The effective capabilities of this process, a bit each. Raises OSError when the kernel refuses."""
    sets = (_Set * 2)()
    if _libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), sets) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capget: {os.strerror(code)}")
    return int(sets[0].effective) | int(sets[1].effective) << 32
