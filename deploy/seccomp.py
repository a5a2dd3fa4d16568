"""Seccomp filters: which system calls a process may still make.

Used by `deploy.confinement` only. Two shapes: for a server everything but a list of what it never needs, for a trial
nothing but a list of what Python needs to compute and to talk over a pipe that is open already. A refused call fails
with EPERM, so that the code that made it sees an ordinary PermissionError.
"""

import ctypes
import errno
import os
import socket
from typing import Any, Literal

_CLONE_THREAD = 0x0001_0000
_PROT_EXEC = 0x4
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_LOW_HALF = 0xFFFF_FFFF  # the kernel looks at these bits alone; a filter that looked at all could be passed by the others
_SIGNALS_TO_ONE = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")

# What no server of ours needs, by what it would give: other processes' memory, the kernel, other namespaces, mounts,
# files by handle, the clock, the machine. io_uring does what the filter refuses without making the refused call.
_NEVER = """
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
    bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load
    io_uring_setup io_uring_enter io_uring_register modify_ldt iopl ioperm personality uselib lookup_dcookie
    setns unshare chroot pivot_root mount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
    name_to_handle_at open_by_handle_at fanotify_init mknod mknodat quotactl quotactl_fd acct swapon swapoff
    add_key keyctl request_key
    settimeofday clock_settime clock_adjtime adjtimex
    reboot sethostname setdomainname syslog vhangup nfsservctl sysfs ustat
    pidfd_send_signal tkill
""".split()

_TO_COMPUTE = """
    read readv write writev recvfrom recvmsg sendto close poll ppoll select pselect6 epoll_wait epoll_pwait lseek fstat
    brk munmap mremap madvise futex sched_yield sched_getaffinity membarrier getrandom
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage
    getpid gettid getppid getuid geteuid getgid getegid exit exit_group
""".split()


class SeccompUnavailable(Exception):
    """No filter can be made here; the text says why."""


def server(*, network: Literal["none", "unix", "all"], execute: bool, fork: bool, signals: bool) -> Any:
    """A filter that allows everything but what a server never needs.

    `network` unix: only Unix sockets can be made (listeners that are open go on). `execute`, `fork`: may start
    programs, processes (threads are always allowed). `signals`: may signal other processes. To be made in the process
    that will load it. Raises SeccompUnavailable.
    """
    library = _library()
    refuse = library.ERRNO(errno.EPERM)
    rules = library.SyscallFilter(library.ALLOW)
    for name in _NEVER:
        _add(rules, refuse, name)
    for command in (_TIOCSTI, _TIOCLINUX):
        _add(rules, refuse, "ioctl", library.Arg(1, library.MASKED_EQ, _LOW_HALF, command))
    if not execute:
        for name in ("execve", "execveat"):
            _add(rules, refuse, name)
    if not fork:
        for name in ("fork", "vfork"):
            _add(rules, refuse, name)
        _add(rules, refuse, "clone", library.Arg(0, library.MASKED_EQ, _CLONE_THREAD, 0))
        # Its flags lie in memory, out of the filter's sight; told that it does not exist, the C library uses clone.
        _add(rules, library.ERRNO(errno.ENOSYS), "clone3")
    if not signals:
        for name in _SIGNALS_TO_ONE:
            _add(rules, refuse, name, library.Arg(0, library.NE, os.getpid()))
    if network == "none":
        _add(rules, refuse, "socket")
    elif network == "unix":
        _add(rules, refuse, "socket", library.Arg(0, library.NE, int(socket.AF_UNIX)))
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


def why_not() -> str:
    """Why no filter can be made here; empty when one can."""
    try:
        _library()
    except SeccompUnavailable as error:
        return str(error)
    return ""


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
        if error.errno not in (errno.EINVAL, errno.EFAULT, errno.EDOM, errno.ENOENT) or _known(name):
            raise


def _known(name: str) -> bool:
    library = _library()
    return ctypes.c_int(library.resolve_syscall(library.system_arch(), name)).value >= 0


def _for_all_threads(rules: Any) -> Any:
    rules.set_attr(_library().Attr.CTL_TSYNC, 1)
    return rules
