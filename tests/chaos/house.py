"""The processes of one service, started as supervisord starts them, and what can be done to them."""

import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy import supervision
from deploy.settings import Configuration, load
from tests.chaos.faults import PROGRAMS, Fault

ROOT = Path(__file__).parents[2]
DEAD_S = 3.0
"""Silence after which the bridge takes a UVM for dead; the other time-outs are shorter."""
STOPPED_S = 4.5
"""How long a process is stopped: past every time-out."""
CALM_S = 2.0
"""How long a clock that jumped stays where it is, and the disk full."""
_AGAIN_S = 0.3
_LIMIT_S = 120.0
_FOREVER = resource.RLIM_INFINITY


class House:
    """Starts the programs, and starts again what ended, as supervisord does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        home = directory / "var"
        self.environment = {
            "BATOS_HOME": str(home),
            "BATOS_METRICS_BASE_PORT": "0",
            "BATOS_BRIDGE_DEAD_AFTER_S": str(DEAD_S),
            "BATOS_UVM_MESSAGE_LIMIT_S": "1.5",
            "BATOS_IMAGE_WAIT_TIMEOUT_S": "2",
            "BATOS_HEARTBEAT_INTERVAL_S": "1",
        }
        self.configuration: Configuration = load(self.environment, directory)
        self.configuration.home.ensure()
        self._commands = {program.name: program.command for program in supervision.programs(self.configuration)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._held: set[str] = set()
        self._shim = _clock_shim(directory)
        self._clocks = {name: _Clock(directory / f"clock-{name}") for name in self._commands}
        self.starts: dict[str, int] = dict.fromkeys(self._commands, 0)

    def open(self) -> None:
        """Start everything, and give the image its first objects and a blob."""
        self.reopen()
        model = self._directory / "model"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "none"}')
        (model / "weights").write_bytes(os.urandom(100_000))
        self._run("uvm.awakening", "--model", str(model), "--wait", "90")

    def reopen(self, programs: Sequence[str] = PROGRAMS) -> None:
        """Start these."""
        for name in programs:
            self._start(name)

    def close(self) -> None:
        """End everything: first those who use the image, then the image."""
        for name in self._processes:
            if name != "image":
                self._signal(name, signal.SIGTERM)
        for name in reversed(self._processes):
            self._end(name, signal.SIGTERM)

    def tick(self) -> None:
        """Start again what has ended."""
        for name, process in self._processes.items():
            if name not in self._held and process.poll() is not None and time.monotonic() - self._started[name] > _AGAIN_S:
                self._start(name)

    def verify(self) -> str:
        """What `batos image verify` says of the image, which nobody may have open; empty when it is sound."""
        done = self._run("ui_client.cli", "image", "verify", check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    # --- faults --------------------------------------------------------------------------------------------------------

    def begin(self, fault: Fault) -> float:
        """Do it; answers how many seconds it lasts."""
        match fault.kind:
            case "kill":
                self._signal(fault.target, signal.SIGKILL)
            case "restart":
                self._signal(fault.target, signal.SIGTERM)
            case "stop":
                self._signal(fault.target, signal.SIGSTOP)
                return STOPPED_S
            case "clock":
                self._clocks[fault.target].offset = fault.amount
                return CALM_S
            case "full":
                self._leave_room(self.configuration.home.image_file.stat().st_size + fault.amount)
                return CALM_S
            case "torn":
                self._held.add("image")
                self._end("image", signal.SIGKILL)
                _append_torn_transaction(self.configuration.home.image_file, fault.amount)
                self._held.discard("image")
            case "blob":
                self._spoil_blob()
                return CALM_S
        return 0.0

    def end(self, fault: Fault) -> None:
        """Undo what lasted."""
        match fault.kind:
            case "stop":
                self._signal(fault.target, signal.SIGCONT)
            case "clock":
                self._clocks[fault.target].offset = 0
            case "full":
                self._leave_room(_FOREVER)
            case "blob":
                self._spoil_blob()

    def _leave_room(self, octets: int) -> None:
        # A process that was started anew meanwhile has no limit, and needs none lifted.
        with suppress(ProcessLookupError):
            resource.prlimit(self._processes["image"].pid, resource.RLIMIT_FSIZE, (octets, _FOREVER))

    def _spoil_blob(self) -> None:
        """Turn a byte of the largest blob over; a second time mends it."""
        blob = max(self.configuration.home.blobs.rglob("*.blob"), key=lambda path: path.stat().st_size)
        mode = blob.stat().st_mode
        blob.chmod(0o600)
        with blob.open("r+b") as file:
            file.seek(1000)
            octet = file.read(1)[0]
            file.seek(1000)
            file.write(bytes([octet ^ 0xFF]))
        blob.chmod(mode)

    # --- processes -----------------------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        inherited = {**os.environ, **self.environment}
        environment = supervision.environment(self.configuration, inherited)
        environment |= {"LD_PRELOAD": str(self._shim), "CHAOS_CLOCK": str(self._clocks[name].path)}
        with (self.configuration.home.logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._commands[name],
                cwd=self.configuration.home.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started[name] = time.monotonic()
        self.starts[name] += 1

    def _signal(self, name: str, number: signal.Signals) -> None:
        if self._processes[name].poll() is None:
            self._processes[name].send_signal(number)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._processes[name]
        self._signal(name, number)
        try:
            process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_LIMIT_S)

    def _run(self, module: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=check,
        )


class _Clock:
    """The offset of one program's wall clock, in a file that its processes map."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 8)

    @property
    def offset(self) -> int:
        """Seconds."""
        return int(struct.unpack("l", self._mapped[:8])[0])

    @offset.setter
    def offset(self, seconds: int) -> None:
        self._mapped[:8] = struct.pack("l", seconds)


def _clock_shim(directory: Path) -> Path:
    library = directory / "clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(Path(__file__).with_name("clock.c")), "-ldl"], check=True)
    return library


def _append_torn_transaction(image: Path, octets: int) -> None:
    """The first bytes of one more transaction, as a crash in the middle of its writing leaves them: nobody was told that it is there."""
    with image.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(end - 8)
        length = int.from_bytes(file.read(8)) + 8
        file.seek(end - length)
        last = file.read(length)
        torn = (int.from_bytes(last[:8]) + 1).to_bytes(8) + last[8:]
        file.seek(end)
        file.write(torn[: min(octets, length - 9)])
