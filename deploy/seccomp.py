"""Seccomp filters: which system calls a process may still make.

Used by `deploy.confinement` only. Two shapes: for a server everything but a list of what it never needs, for a trial
nothing but a list of what Python needs to compute and to talk over a pipe that is open already. A refused call fails
with EPERM, so that the code that made it sees an ordinary PermissionError.
"""

import ctypes
import errno
import os
import platform
import socket
from typing import Any, Final, Literal

from msgspec import Struct

_CLONE_THREAD = 0x0001_0000
_NEW_NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
_PROT_EXEC = 0x4
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SET_FLAGS, _SET_EXTENDED_FLAGS = 0x4008_6602, 0x401C_5820  # chattr's two
_LOW_HALF = 0xFFFF_FFFF  # the kernel looks at these bits alone; a filter that looked at all could be passed by the others
_SIGNALS_TO_ONE = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_HIGHEST_DOMAIN = 64
_NICEST = 19
_KINDS = {int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)}
_KIND_BITS = 0xF

# What no server of ours needs, by what it would give: other processes' memory, the kernel, other namespaces, mounts,
# files by handle, the clock, the machine. io_uring does what the filter refuses without making the refused call.
_NEVER = """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp
    bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load
    io_uring_setup io_uring_enter io_uring_register modify_ldt iopl ioperm personality uselib lookup_dcookie
    setns unshare chroot pivot_root mount umount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
    name_to_handle_at open_by_handle_at fanotify_init fanotify_mark mknod mknodat quotactl quotactl_fd acct swapon swapoff
    add_key keyctl request_key
    settimeofday stime clock_settime clock_adjtime clock_adjtime64 clock_settime64 adjtimex
    reboot sethostname setdomainname syslog vhangup nfsservctl sysfs ustat
    tkill migrate_pages move_pages
""".split()

# What landlock does not look at. The rights, owners and attributes of files outside, while the account owns them:
_ATTRIBUTES_OF_FILES = """
    chown lchown fchown fchownat
    setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
""".split()
# What is shared by name with every process of the account, past the file system:
_NAMED_MEMORY_AND_QUEUES = """
    shmget shmat shmctl shmdt msgget msgsnd msgrcv msgctl semget semop semtimedop semtimedop_time64 semctl ipc
    mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr
""".split()
# And how much of the machine whom it belongs to:
_SCHEDULING = """
    nice ioprio_set sched_setparam sched_setattr
""".split()
# What the engine's tools use, and no other process: times of files, and watching them.
_LESS_USED = "utime utimes futimesat utimensat utimensat_time64 inotify_init inotify_init1 inotify_add_watch".split()

# Where a mode stands among a call's arguments. Marking a file read-only is skipped, and answered as if it were done: ZODB and
# its like do it to finished files and would fail otherwise.
_CHMOD = {"chmod": 1, "fchmod": 1, "fchmodat": 2}
_BEYOND_READING = 0o7333

# System calls that this list, or the library below it, does not know are answered like those of a kernel that lacks them.
_NEWEST_KNOWN: Final = 451  # cachestat, Linux 6.5; numbers are the same on every architecture from 424 on
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_LOAD_WORD, _JUMP_IF_GREATER, _RETURN = 0x20, 0x25, 0x06
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

_TO_COMPUTE = """
    read readv write writev recvfrom recvmsg sendto close poll ppoll select pselect6 epoll_wait epoll_pwait lseek fstat
    brk munmap mremap madvise futex sched_yield sched_getaffinity membarrier getrandom
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage
    getpid gettid getppid getuid geteuid getgid getegid exit exit_group
""".split()


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


class SeccompUnavailable(Exception):
    """No filter can be made here; the text says why."""


class Allowed(Struct, frozen=True, kw_only=True):
    """What a server's filter lets pass beyond computing, threads and files.

    `network` unix: only Unix sockets can be made (listeners that are open go on); tcp: also TCP sockets, and with `resolve`
    what looks host names up. `execute`, `fork`: may start programs, processes. `signals` children: signals may go to others
    (landlock keeps them to its own children); pidfd: only through a pidfd. `native_code`: memory may be made executable.
    `accounts`: may change its user.
    """

    network: Literal["none", "unix", "tcp"] = "none"
    resolve: bool = False
    execute: bool = False
    fork: bool = False
    signals: Literal["none", "children", "pidfd"] = "none"
    native_code: bool = False
    accounts: bool = False


def server(allowed: Allowed) -> Any:
    """A filter that allows everything but what a server never needs, and what `allowed` leaves out.

    To be made in the process that will load it. Raises SeccompUnavailable.
    """
    library = _library()
    refuse = library.ERRNO(errno.EPERM)
    rules = library.SyscallFilter(library.ALLOW)
    for name in (*_NEVER, *_ATTRIBUTES_OF_FILES, *_NAMED_MEMORY_AND_QUEUES, *_SCHEDULING):
        _add(rules, refuse, name)
    for command in (_TIOCSTI, _TIOCLINUX, _SET_FLAGS, _SET_EXTENDED_FLAGS):
        _add(rules, refuse, "ioctl", library.Arg(1, library.MASKED_EQ, _LOW_HALF, command))
    # ZeroMQ gives each thread the ordinary policy, which it has.
    _add(rules, refuse, "sched_setscheduler", library.Arg(1, library.NE, os.SCHED_OTHER))
    _refuse_modes(rules, library)
    # 0 means the caller.
    for name in ("prlimit64", "sched_setaffinity"):
        _add(rules, refuse, name, library.Arg(0, library.NE, 0))
    if allowed.execute:
        # A thread of the engine may put itself behind the others: which kind, who, how nice.
        for condition in (library.Arg(0, library.NE, os.PRIO_PROCESS), library.Arg(1, library.NE, 0), library.Arg(2, library.GT, _NICEST)):
            _add(rules, refuse, "setpriority", condition)
    else:
        _add(rules, refuse, "setpriority")
        for name in ("execve", "execveat", *_LESS_USED):
            _add(rules, refuse, name)
    if not allowed.native_code:
        _refuse_native_code(rules, library, refuse)
    _refuse_processes(rules, library, refuse, allowed)
    if not allowed.accounts:
        for name in "setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset".split():
            _add(rules, refuse, name)
    _refuse_sockets(rules, library, refuse, allowed)
    return _for_all_threads(rules)


def trial() -> Any:
    """A filter that allows computing and talking over open pipes, nothing else. Raises SeccompUnavailable."""
    library = _library()
    rules = library.SyscallFilter(library.ERRNO(errno.EPERM))
    for name in _TO_COMPUTE:
        _add(rules, library.ALLOW, name)
    for name in ("mmap", "mprotect"):
        _add(rules, library.ALLOW, name, library.Arg(2, library.MASKED_EQ, _PROT_EXEC, 0))
    return _for_all_threads(rules)


def load(rules: Any) -> None:
    """Bind every thread of this process to the filter, for good. Raises OSError."""
    rules.load()


def refuse_unknown_calls() -> None:
    """Answer system calls that `server` does not know like a kernel that lacks them, in every thread, for good. Raises OSError.

    The architecture is the other filter's to check: a call that is not this one's ends the process there.
    """
    number = _SECCOMP_CALL.get(platform.machine())
    if number is None:
        return
    program = (_Instruction * 4)(
        _Instruction(_LOAD_WORD, 0, 0, 0),
        _Instruction(_JUMP_IF_GREATER, 0, 1, _NEWEST_KNOWN),
        _Instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(
        ctypes.c_long(number), ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(_Program(4, program))
    )
    if result != 0:
        code = ctypes.get_errno() or errno.EBUSY
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def why_not() -> str:
    """Why no filter can be made here; empty when one can."""
    try:
        _library()
    except SeccompUnavailable as error:
        return str(error)
    return ""


# --- what a server may not, by kind -----------------------------------------------------------------------------------


def _refuse_modes(rules: Any, library: Any) -> None:
    for name, argument in _CHMOD.items():
        for bit in (1 << shift for shift in range(12)):
            if bit & _BEYOND_READING:
                _add(rules, library.ERRNO(errno.EPERM), name, library.Arg(argument, library.MASKED_EQ, bit, bit))
        _add(rules, library.ERRNO(0), name, library.Arg(argument, library.MASKED_EQ, _BEYOND_READING, 0))


def _refuse_native_code(rules: Any, library: Any, refuse: int) -> None:
    for name in ("mmap", "mmap2", "mprotect", "pkey_mprotect"):
        _add(rules, refuse, name, library.Arg(2, library.MASKED_EQ, _PROT_EXEC, _PROT_EXEC))
    for name in ("memfd_create", "memfd_secret", "remap_file_pages"):
        _add(rules, refuse, name)


def _refuse_processes(rules: Any, library: Any, refuse: int, allowed: Allowed) -> None:
    # Its flags lie in memory, out of the filter's sight; told that it does not exist, the C library uses clone.
    _add(rules, library.ERRNO(errno.ENOSYS), "clone3")
    if not allowed.fork:
        for name in ("fork", "vfork"):
            _add(rules, refuse, name)
        _add(rules, refuse, "clone", library.Arg(0, library.MASKED_EQ, _CLONE_THREAD, 0))
    for flag in _NEW_NAMESPACES:
        _add(rules, refuse, "clone", library.Arg(0, library.MASKED_EQ, flag, flag))
    if allowed.signals != "children":
        for name in _SIGNALS_TO_ONE:
            _add(rules, refuse, name, library.Arg(0, library.NE, os.getpid()))
    if allowed.signals == "none":
        _add(rules, refuse, "pidfd_send_signal")


def _refuse_sockets(rules: Any, library: Any, refuse: int, allowed: Allowed) -> None:
    if allowed.network == "none":
        for name in ("socket", "connect", "bind"):
            _add(rules, refuse, name)
    domains = {int(socket.AF_UNIX)}
    if allowed.network == "tcp":
        domains |= {int(socket.AF_INET), int(socket.AF_INET6)}
        for internet in (socket.AF_INET, socket.AF_INET6):
            _only_tcp(rules, library, refuse, int(internet), udp=allowed.resolve)
        if allowed.resolve:
            domains.add(int(socket.AF_NETLINK))
            _add(rules, refuse, "socket", library.Arg(0, library.EQ, int(socket.AF_NETLINK)), library.Arg(2, library.NE, 0))
    for name in ("socketpair",) if allowed.network == "none" else ("socket", "socketpair"):
        for domain in range(_HIGHEST_DOMAIN):
            if domain not in domains:
                _add(rules, refuse, name, library.Arg(0, library.EQ, domain))
        _add(rules, refuse, name, library.Arg(0, library.GE, _HIGHEST_DOMAIN))


def _only_tcp(rules: Any, library: Any, refuse: int, domain: int, *, udp: bool) -> None:
    """Landlock's rules are for TCP alone: other protocols over a stream socket, MPTCP for one, would pass them by."""
    this = library.Arg(0, library.EQ, domain)
    kinds = _KINDS if udp else {int(socket.SOCK_STREAM)}
    protocols = {0, int(socket.IPPROTO_TCP), *({int(socket.IPPROTO_UDP)} if udp else ())}
    for kind in range(_KIND_BITS + 1):
        if kind not in kinds:
            _add(rules, refuse, "socket", this, library.Arg(1, library.MASKED_EQ, _KIND_BITS, kind))
    for protocol in range(max(protocols)):
        if protocol not in protocols:
            _add(rules, refuse, "socket", this, library.Arg(2, library.EQ, protocol))
    _add(rules, refuse, "socket", this, library.Arg(2, library.GT, max(protocols)))


# --- the library ------------------------------------------------------------------------------------------------------


def _library() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise SeccompUnavailable(f"{error}; install the package libseccomp2") from error
    return pyseccomp


def _add(rules: Any, action: int, name: str, *conditions: Any) -> None:
    try:
        rules.add_rule(action, name, *conditions)
    except OSError as error:
        # A call that this architecture, or this libseccomp, does not know cannot be made under its name either.
        if error.errno not in (errno.EINVAL, errno.EFAULT, errno.EDOM, errno.ENOENT) or _is_syscall(name):
            raise


def _is_syscall(name: str) -> bool:
    library = _library()
    return ctypes.c_int(library.resolve_syscall(library.system_arch(), name)).value >= 0


def _for_all_threads(rules: Any) -> Any:
    rules.set_attr(_library().Attr.CTL_TSYNC, 1)
    return rules
