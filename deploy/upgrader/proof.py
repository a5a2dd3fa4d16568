"""The proof of a new environment: a whole service on a copy of the image, run by it, beside the real one.

The copy has the image's file and its blobs, those by links, in a home of its own, `proof/` in the real one. Everything that a start needs
is done there by the programs of the new environment: the file is read record by record; server, bridge, worker and a UVM are started
under a supervisord of their own; the image is awakened, messages are answered, a method is offered, tried and run, and a missing one is
written: from a script, or by the engine itself where the model's own libraries change. In the end every object and method is looked at
once more. The image itself is only read, and only its file.
Called by the upgrader's one thread; what a killed upgrader left behind is ended and removed when the proof begins again.
"""

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from deploy import environment, service, settings, supervision
from deploy.environment import Interpreter
from deploy.home import Home
from deploy.service import ServiceError
from deploy.settings import Configuration
from deploy.upgrader import tools
from deploy.upgrader.candidate import CandidateFailed, Say
from deploy.upgrader.events import DistributionChange, ImageIdentity
from deploy.upgrader.instructions import ExpectedReply
from deploy.upgrader.tools import ToolRun

_PROGRAMS: Final = ("image", "bridge", "inference", "uvm-1")
_SCRIPT: Final = "proof.json"
_FICLONE: Final = 0x40049409
_LEFT_S: Final = 5.0
_LOOK_S: Final = 0.2
_DOWN: Final = frozenset({"BACKOFF", "EXITED", "FATAL", "UNKNOWN"})
"""States of a program that ended although nobody asked it to."""
PROOF_BODY: Final = "    return self.proofPrice * 2"
"""What a script answers to whatever it is asked: the body of the method that `ui_client.proving` misses."""
_ALONE: Final = {
    "BATOS_METRICS_BASE_PORT": "0",
    "BATOS_UVM_PROCESSES": "1",
    "BATOS_BRIDGE_ENDPOINT": "",
    "BATOS_BRIDGE_EVENTS": "",
    "BATOS_BRIDGE_KEY": "",
    "BATOS_INFERENCE_ADDRESS": "",
    "BATOS_INFERENCE_WORKERS": "",
    "BATOS_INFERENCE_PEERS": "",
    "BATOS_INFERENCE_START": "lazy",
}
"""What the copy's service has otherwise than the real one: no address that others know, no worker elsewhere, and one UVM."""


class Proof:
    """A service on a copy of the image. Use it in a `with` statement: in the end the service is stopped, and the copy removed."""

    def __init__(self, configuration: Configuration, interpreter: Interpreter, ends: float, say: Say, *, engine: bool) -> None:
        """`ends`: monotonic seconds at which it must be done. `engine`: whether the model's engine itself is to write."""
        self._real = configuration
        self._engine = engine
        self._interpreter = interpreter
        self._ends = ends
        self._say = say
        directory = configuration.home.path / "proof"
        files = {origin for origin in configuration.origins.values() if origin.startswith("/")}
        named = {"BATOS_CONFIG": files.pop()} if files else {}
        memory = {
            "BATOS_INFERENCE_MEMORY_MB": str(configuration.settings.upgrade.proof_memory_mb)
        }  # beside the real one, which has its own
        self._settled = {**os.environ, **named, **_ALONE, **memory, "BATOS_HOME": str(directory)}
        self._copy = settings.load(self._settled, directory.parent)

    def __enter__(self) -> "Proof":
        self._clear()
        return self

    def __exit__(self, *_error: object) -> None:
        self._clear()

    def carry_out(self, changes: list[DistributionChange], expected: list[ExpectedReply]) -> ImageIdentity:
        """Do all of it. Raises CandidateFailed."""
        if modules := self._modules(changes):
            self._say(f"importing {', '.join(modules)[:200]}")
            self._tool("deploy.upgrader.imports", *modules, failing="it cannot be imported")
        self._say("copying the image")
        copy_image(self._real.home, self._copy.home)
        self._say("reading every record of the copy")
        self._tool("zeo_server.image", "verify", "--json", failing="the copy of the image cannot be read whole")
        self._say("starting a service on the copy")
        service.start(self._copy, self.programs(), self._settled)
        self._tool("uvm.awakening", "--json", "--wait", "60", failing="the image does not awaken")
        identity = msgspec.json.decode(
            self._tool("uvm.awakening.identity", failing="the image does not say who it is").out, type=ImageIdentity
        )
        writes = self._real.settings.upgrade.proof_writes
        if writes:
            self._await_worker()
        self._say(f"sending messages{', with one that nothing understands' if writes else ''}")
        for line in self._messages(expected).splitlines():
            self._say(line)
        service.stop(self._copy)
        self._say("looking at every object and method")
        self._check()
        return identity

    def programs(self) -> list[supervision.Program]:
        """Those of the copy's service, in the background. The worker writes from a script, where the engine itself is not to write."""
        script = self._copy.home.path / _SCRIPT
        script.write_text(json.dumps({"default": PROOF_BODY}))
        more = {} if self._engine else {"inference": ("--engine", "fake", "--script", str(script))}
        return [
            msgspec.structs.replace(program, command=("/usr/bin/env", "nice", "-n", "10", *program.command, *more.get(program.name, ())))
            for program in supervision.programs(self._copy, self._interpreter)
            if program.name in _PROGRAMS
        ]

    def _await_worker(self) -> None:
        """Wait until the worker listens: a miss would wait for one that never comes as long as it may. Raises CandidateFailed."""
        socket = Path(self._copy.inference_endpoint.removeprefix("ipc://"))
        while not socket.exists():
            states = {status.name: status for status in service.statuses(self._copy)}
            if states["inference"].state in _DOWN or time.monotonic() > self._ends:
                why = f"the inference worker does not start: {states['inference'].state}"
                raise CandidateFailed(f"a missing method was not written: {why}", self._log(ToolRun(None, "", "")))
            time.sleep(_LOOK_S)

    def _check(self) -> None:
        done = self._run("uvm.awakening.rewind", "check")
        try:
            boots = bool(json.loads(done.out)["boots"])
        except (ValueError, KeyError, TypeError):
            boots = False
        if not boots:
            raise CandidateFailed("the copy would not boot again", self._log(done))

    def _messages(self, expected: list[ExpectedReply]) -> str:
        seconds = max(1.0, self._ends - time.monotonic() - _LEFT_S)
        text = msgspec.json.encode(expected).decode()
        writes = self._real.settings.upgrade.proof_writes
        writer = ("--written-by", "engine" if self._engine else "script") if writes else ()
        failing = "messages are not answered as they must be"
        return self._tool("ui_client.proving", "--seconds", f"{seconds:.0f}", *writer, failing=failing, stdin=text).out

    def _tool(self, module: str, *arguments: str, failing: str, stdin: str = "") -> ToolRun:
        done = self._run(module, *arguments, stdin=stdin)
        if done.status is None:
            raise CandidateFailed(f"{failing}: {module} hangs", self._log(done))
        if done.status:
            last = (done.err.strip().splitlines() or [""])[-1]
            raise CandidateFailed(f"{failing}: {last[:300] or f'{module} ended with {done.status}'}", self._log(done))
        return done

    def _run(self, module: str, *arguments: str, stdin: str = "") -> ToolRun:
        command = tools.module(self._interpreter, module, *arguments)
        settled = tools.environment_of(self._interpreter, self._copy, self._settled)
        memory_mb = self._real.settings.upgrade.proof_memory_mb
        directory = self._copy.home.path.parent
        return tools.run(command, self._ends, settled=settled, stdin=stdin, memory_mb=memory_mb, directory=directory)

    def _log(self, done: ToolRun) -> str:
        """What a program wrote, and the ends of the copy's logs."""
        ends = []
        for program in _PROGRAMS:
            with suppress(OSError):
                ends.append(f"{program}: {(self._copy.home.logs / f'{program}.log').read_text(errors='replace')[-1000:]}")
        return "\n".join([*ends, done.log])

    def _modules(self, changes: list[DistributionChange]) -> list[str]:
        """What the changed distributions can be imported by. BAT OS itself is what the rest of the proof is about."""
        prefix = Path(self._interpreter.python).parent.parent
        names = {change.name for change in changes if change.after and change.name != "batos"}
        return sorted({module for packages in environment.site_packages(prefix) for module in top_modules(packages, names)})

    def _clear(self) -> None:
        with suppress(ServiceError):
            service.stop(self._copy)
        home = self._copy.home
        _end_orphans(home.path)
        for directory in (home.path, home.run, home.scratch):
            shutil.rmtree(directory, ignore_errors=True)


def _end_orphans(home: Path) -> None:
    """Kill what still runs for that home: a supervisord that was killed leaves its programs behind."""
    mark = b"BATOS_HOME=" + os.fsencode(home)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with suppress(OSError):  # it has ended, or is somebody else's
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def top_modules(packages: Path, names: set[str]) -> set[str]:
    """The packages and modules that distributions installed, by what their records list."""
    modules = set()
    for information in packages.glob("*.dist-info"):
        if environment.distribution_of(information)[0] not in names:
            continue
        record = information / "RECORD"
        for line in record.read_text().splitlines() if record.exists() else ():
            file = line.partition(",")[0].strip('"')
            top, slash, rest = file.partition("/")
            if slash and rest == "__init__.py" and top.isidentifier():
                modules.add(top)
            elif not slash and top.endswith(".py") and top.removesuffix(".py").isidentifier():
                modules.add(top.removesuffix(".py"))
    return modules


def copy_image(source: Home, target: Home) -> None:
    """Copy an image that may be written meanwhile: first the file, then the blobs that its transactions name. Raises CandidateFailed."""
    try:
        target.path.mkdir(mode=0o700, exist_ok=True)  # a disk of its own may be mounted there
        target.ensure()
        _copy_file(source.image_file, target.image_file)
        _each_blob(source.blobs, target.blobs, _link_or_copy)
    except OSError as error:
        raise CandidateFailed(f"the image cannot be copied: {error}") from error


def _each_blob(source: Path, target: Path, put: Callable[[Path, Path], None]) -> None:
    target.mkdir(mode=0o700)
    for top, directories, files in os.walk(source):
        here = target / Path(top).relative_to(source)
        directories[:] = [name for name in directories if Path(top) != source or name != "tmp"]
        here.mkdir(exist_ok=True, mode=0o700)
        for name in files:
            with suppress(FileNotFoundError):  # a pack took it meanwhile
                put(Path(top) / name, here / name)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())  # a file system that shares blocks copies nothing
        except OSError:
            shutil.copyfileobj(reader, writer, 1 << 22)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
