"""The service: starting, asking and stopping supervisord for one home.

Called by the `batos` command and by the upgrader, from one thread at a time in each process; two processes that start
the same home at once are kept apart by a lock in the home. supervisord listens on a Unix socket in the run directory, and
asks for a password that only its configuration file has. That file lies in a directory of its own: a UVM, confined to
others, can neither read the password nor change what supervisord starts.
"""

import configparser
import fcntl
import http.client
import os
import pwd
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from deploy import profiles, supervision
from deploy.settings import Configuration
from deploy.supervision import Program

_ANSWER_S = 10.0
_START_S = 30.0
_POLL_S = 0.05


class ServiceError(Exception):
    """supervisord could not be started, asked or stopped; the message says why, and what can be done."""


class NotRunning(ServiceError):
    """Nobody answers for this home."""


class ProgramStatus(Struct, frozen=True):
    """One program. `state` is supervisord's (RUNNING, STARTING, BACKOFF, STOPPED, FATAL, …), `uptime_s` 0 unless it runs."""

    name: str
    state: str
    pid: int
    uptime_s: float
    description: str


def start(configuration: Configuration, programs: Sequence[Program] | None = None, inherited: Mapping[str, str] | None = None) -> None:
    """Start the service and return once supervisord answers; its programs may still be starting.

    A service that runs already is left as it is: settings changed since then need a `stop` first. `programs` replaces
    the service's own, `inherited` the environment that they find. Raises ServiceError.
    """
    home = configuration.home
    home.ensure()
    with _alone(home.path / "start.lock"):
        if _answers(configuration):
            return
        _end_leftover(configuration)
        _hand_over(configuration)
        file = _file(configuration)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        chosen = supervision.programs(configuration) if programs is None else programs
        _write_private(file, supervision.render(configuration, chosen, secrets.token_hex(16)))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(file)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
            cwd=home.path,
            env={
                **supervision.environment(configuration, dict(inherited or os.environ)),
                "PYTHONHASHSEED": _hash_seed(file.with_name("hash.seed")),
            },
        )
        if done.returncode != 0:
            raise ServiceError(f"supervisord refused to start: {(done.stderr or done.stdout).strip()[-800:]}")
        if not _until(lambda: _answers(configuration), _START_S):
            raise ServiceError(f"supervisord does not answer on {home.supervisor_socket}; see {home.logs / 'supervisord.log'}")


def stop(configuration: Configuration, timeout: float = 90.0) -> None:
    """Stop every program and supervisord itself, the last started first; a service that is not running is fine.

    `timeout` in seconds; past it everything that is left is killed. Raises ServiceError when even that fails.
    """
    try:
        supervisor = _supervisor(configuration)
        process = int(supervisor.getPID())
        supervisor.shutdown()
    except NotRunning:
        _end_leftover(configuration)
        return
    if _ends_within(process, timeout):
        return
    _kill_with_children(process)
    if not _ends_within(process, _ANSWER_S):
        raise ServiceError(f"supervisord, process {process}, does not end; end it and remove {configuration.home.supervisor_socket}")


def statuses(configuration: Configuration) -> list[ProgramStatus]:
    """Every program's state, in the order of their start. Raises NotRunning, ServiceError."""
    order = {section: number for number, section in enumerate(_written(configuration).sections())}
    answers = sorted(_call(configuration, "getAllProcessInfo"), key=lambda answer: order.get(f"program:{answer['name']}", len(order)))
    return [
        ProgramStatus(
            name=answer["name"],
            state=answer["statename"],
            pid=answer["pid"],
            uptime_s=float(answer["now"] - answer["start"]) if answer["statename"] == "RUNNING" else 0.0,
            description=answer["description"] or answer["spawnerr"],
        )
        for answer in answers
    ]


def restart(configuration: Configuration, program: str) -> None:
    """Stop one program as `stop` does, and start it again. Raises NotRunning, ServiceError for an unknown program."""
    programs = {status.name: status for status in statuses(configuration)}
    if program not in programs:
        raise ServiceError(f"no program {program!r}; the service has {', '.join(programs) or 'none'}")
    if programs[program].state in ("RUNNING", "STARTING", "BACKOFF"):
        _call(configuration, "stopProcess", program, True, patience=120.0)
    _call(configuration, "startProcess", program, True, patience=60.0)


def configured(configuration: Configuration) -> list[str]:
    """The programs that the running service was told of, in the order of their start. Raises NotRunning."""
    return [section.removeprefix("program:") for section in _written(configuration).sections() if section.startswith("program:")]


def reconfigure(configuration: Configuration, programs: Sequence[Program]) -> None:
    """Tell supervisord how these programs are to be run from their next start on; those that run go on. Raises ServiceError."""
    password = _written(configuration).get("unix_http_server", "password", fallback="")
    _write_private(_file(configuration), supervision.render(configuration, programs, password))
    _call(configuration, "reloadConfig")


def take_down(configuration: Configuration, names: Iterable[str], timeout: float) -> None:
    """Stop programs, all at once, and have supervisord forget them; those that it does not have are fine. Raises ServiceError."""
    wanted = list(names)
    there = {status.name for status in statuses(configuration)} & set(wanted)
    for name in wanted:
        if name in there:
            _call(configuration, "stopProcessGroup", name, False)
    if not _until(lambda: all(status.pid == 0 for status in statuses(configuration) if status.name in there), timeout):
        raise ServiceError(f"{', '.join(sorted(there))} did not end within {timeout:.0f} s")
    for name in there:
        _call(configuration, "removeProcessGroup", name)


def bring_up(configuration: Configuration, names: Iterable[str]) -> None:
    """Start programs as supervisord was last told to run them, in this order; those that run are left. Raises ServiceError."""
    there = {status.name for status in statuses(configuration)}
    for name in names:
        if name not in there:
            _call(configuration, "addProcessGroup", name)
        if not _process_of(configuration, name):
            with suppress(ServiceError):  # supervisord's own loop was first
                _call(configuration, "startProcess", name, False)


def _process_of(configuration: Configuration, name: str) -> int:
    return next((status.pid for status in statuses(configuration) if status.name == name), 0)


# --- asking supervisord ------------------------------------------------------------------------------------------------


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float, headers: list[tuple[str, str]]) -> None:
        super().__init__(headers=headers)
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path, self._timeout)
        self._connection = (str(host), connection)  # what `close` closes
        return connection


def _supervisor(configuration: Configuration, patience: float = _ANSWER_S) -> Any:
    password = _written(configuration).get("unix_http_server", "password", fallback="")
    path = configuration.home.supervisor_socket
    token = b64encode(f"batos:{password}".encode()).decode()
    transport = _Transport(path, patience, [("Authorization", f"Basic {token}")])
    return _Guarded(xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport, allow_none=True), transport, path)


class _Guarded:
    """supervisord's methods, whose failures come out as ServiceError."""

    def __init__(self, proxy: xmlrpc.client.ServerProxy, transport: _Transport, path: Path) -> None:
        self._proxy = proxy
        self._transport = transport
        self._path = path

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return getattr(self._proxy.supervisor, name)(*arguments)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise NotRunning(f"the service is not running: nobody listens on {self._path}; start it with `batos up`") from error
            except xmlrpc.client.Fault as error:
                raise ServiceError(f"supervisord refused {name}{arguments}: {error.faultString}") from error
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise ServiceError(f"supervisord did not answer {name}{arguments}: {error}") from error
            finally:
                self._transport.close()

        return call


def _call(configuration: Configuration, name: str, *arguments: Any, patience: float = _ANSWER_S) -> Any:
    return getattr(_supervisor(configuration, patience), name)(*arguments)


def _answers(configuration: Configuration) -> bool:
    with suppress(NotRunning):
        return bool(_call(configuration, "getState")["statename"] == "RUNNING")
    return False


def _file(configuration: Configuration) -> Path:
    return supervision.directory(configuration) / "supervisord.conf"


def _written(configuration: Configuration) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_file(configuration).read_text())
    except (OSError, configparser.Error) as error:
        raise NotRunning("the service is not running: it was never started in this home; start it with `batos up`") from error
    return parser


# --- processes ---------------------------------------------------------------------------------------------------------


def _end_leftover(configuration: Configuration) -> None:
    """End a supervisord of this home that runs and does not answer; what a dead one left behind it removes itself."""
    try:
        process = int((supervision.directory(configuration) / "supervisord.pid").read_text())
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if os.fsencode(_file(configuration)) not in command:
        return
    if _until(lambda: _answers(configuration), _ANSWER_S / 2):
        return
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    if not _ends_within(process, _START_S):
        _kill_with_children(process)
        _ends_within(process, _ANSWER_S)


def _ends_within(process: int, timeout: float) -> bool:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def _kill_with_children(process: int) -> None:
    children: list[int] = []
    with suppress(OSError):
        children = [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    for pid in (process, *children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _until(holds: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _hand_over(configuration: Configuration) -> None:
    """Give the home to the account that the processes change to, or back to root: without capabilities, only its owner reads a closed file.

    supervisord stays root's, with its configuration and the logs that it writes. Raises ServiceError for an unknown account.
    """
    if os.getuid() != 0:
        return
    home, user = configuration.home, profiles.service_user(configuration)
    try:
        account = pwd.getpwnam(user or "root")
    except KeyError as error:
        raise ServiceError(f"confinement.user is {user!r}, and this host has no such account; make it, or set another") from error
    supervisors = {home.supervision, home.logs, home.supervisor_run}
    for top in dict.fromkeys((home.path, home.run, home.scratch)):
        for directory, directories, files in os.walk(top):
            here = Path(directory)
            directories[:] = [name for name in directories if here / name not in supervisors]
            for path in (here, *(here / name for name in files)):
                if path.lstat().st_uid != account.pw_uid:
                    os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _until(lambda: _locked(descriptor), 2 * _START_S):
            raise ServiceError(f"another process has been starting this service for {2 * _START_S:.0f} s; it holds {lock}")
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hash_seed(file: Path) -> str:
    """How texts are hashed in every process of a home, at every start: the order of a set is part of what a method was tried on.

    Drawn once, and secret, so that nobody can make texts that collide.
    """
    if not file.exists():
        _write_private(file, str(1 + secrets.randbelow(2**32 - 1)))
    return file.read_text("ascii")


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
