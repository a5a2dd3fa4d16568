"""The forge's process, `python -m inference_worker.forge`, under supervisord: trains what the image orders, and examines what was trained.

One thread, one loop, a look four times a second. It computes nothing itself: two programs do, one after the other, each confined to its
part. When somebody waits for the model, the program that runs is stopped where it stands (SIGSTOP), and goes on when nobody does; so an
interactive message waits for the forge at most as long as one look takes. All that the forge remembers is in the files of `deploy.orders`:
whoever is killed goes on from there.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import IO, Any, Final, cast

import msgspec
import structlog
import zmq

from deploy import confinement, logs, profiles
from deploy.orders import ForgeState, Order, OrderReport, Spool, write
from deploy.process import Stop
from deploy.settings import Configuration, SettingsError, load
from inference_worker.forge.handover import handed
from inference_worker.forge.stewardship import Child, NextAction, step
from inference_worker.protocol import AskHealth, Health, decode_answer, encode

LOOK_S: Final = 0.25
CALM_S: Final = 2.0
"""How long nobody must have waited before it goes on, seconds."""
_SILENCE_S: Final = 2.0
"""A worker that says nothing for so long serves nobody."""

log = structlog.get_logger()


class ModelWatch:
    """Whether somebody waits for the model, as the inference worker says; asked anew at each look, without waiting for the answer."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 2)
        self._socket.connect(endpoint)
        self._busy_at = self._heard_at = -CALM_S
        self._asked = False

    def look(self, now: float) -> bool:
        """Take in what was answered, and ask again."""
        while self._socket.poll(0):
            self._asked = False
            try:
                answer = decode_answer(self._socket.recv())
            except msgspec.DecodeError:
                continue
            if isinstance(answer, Health):
                self._heard_at = now
                if answer.running or answer.waiting or answer.engine == "starting":
                    self._busy_at = now
        if not self._asked or now - self._heard_at > _SILENCE_S:
            try:
                self._socket.send(encode(AskHealth("forge")), zmq.NOBLOCK)
                self._asked = True
            except zmq.Again:
                pass
        return now - self._busy_at < CALM_S

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class Forge:
    """The order in hand and its program."""

    def __init__(self, configuration: Configuration) -> None:
        self._spool = Spool(configuration.home)
        self._home, self._settings = configuration.home, configuration.settings
        self._process: subprocess.Popen[bytes] | None = None
        self._child: Child | None = None
        self._of = ""
        self._began = 0.0
        self._state: ForgeState | None = None

    def look(self, now: float, busy: bool) -> None:
        """One look at the oldest order that has not ended."""
        waiting = ((order, self._spool.report(order.id)) for order in self._spool.orders())
        order, report = next(((order, report) for order, report in waiting if report is None or not report.ended), (None, None))
        self._tell(ForgeState(paused=busy, order=order.id if order is not None else ""))
        if order is None:
            return
        if order.id != self._of:
            self._end()
            self._of, self._child = order.id, None
        if self._process is not None and self._child is not None:
            self._child = msgspec.structs.replace(
                self._child, status=self._process.poll(), too_long=now - self._began > self._settings.forge.longest_s
            )
        self._carry_out(step(report, self._child, busy=busy, cancelled=self._spool.cancelled(order.id)), order, report, now)

    def close(self) -> None:
        """End the program; the order goes on with the next start."""
        self._end()

    def _carry_out(self, action: NextAction, order: Order, report: OrderReport | None, now: float) -> None:
        last = report or OrderReport(order.id, "waiting", steps=order.steps)
        match action.action:
            case "start":
                tries = (
                    self._child.tries + 1 if self._child is not None and self._child.program == action.program and self._child.status else 1
                )
                command = [sys.executable, "-P", "-m", f"inference_worker.forge.{action.program}", str(self._home.path), order.id]
                # Its own directory for what is temporary, whatever the environment says of that: it may write nowhere else.
                temporary = self._spool.path / "tmp"
                environment = {**os.environ, "TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(temporary / "torchinductor")}
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
                with contextlib.suppress(BrokenPipeError), cast(IO[bytes], self._process.stdin) as stdin:
                    stdin.write(handed(self._settings))
                self._child, self._began = Child(action.program, tries=tries), now
                if report is None:
                    self._spool.tell(msgspec.structs.replace(last, state="training"))
                log.info("started", program=action.program, order=order.id, tries=tries)
            case "pause" | "go on":
                self._signal(signal.SIGSTOP if action.action == "pause" else signal.SIGCONT)
                if self._child is not None:
                    self._child = msgspec.structs.replace(self._child, stopped=action.action == "pause")
            case "end":
                self._end()
            case "cancel":
                self._spool.tell(msgspec.structs.replace(last, state="cancelled"))
                log.info("cancelled", order=order.id)
            case "fail":
                self._end()
                self._spool.tell(msgspec.structs.replace(last, state="failed", detail=action.why))
                log.error("an order failed", order=order.id, why=action.why)

    def _end(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGKILL)
            status = self._process.wait()
            self._process = None
            if self._child is not None and self._child.status is None:
                self._child = msgspec.structs.replace(self._child, status=status, stopped=False)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _tell(self, state: ForgeState) -> None:
        if state != self._state:
            write(self._spool.path / "state.json", state)
            self._state = state


def main() -> int:
    """Entry point."""
    argparse.ArgumentParser(
        prog="python -m inference_worker.forge", description="The forge: trains the adapters that the image orders."
    ).parse_args()
    try:
        configuration = load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.start("forge", configuration.settings.logs.level)
    configuration.home.ensure()
    Spool(configuration.home).ensure()
    stop = Stop()
    confinement.enter("forge", profiles.forge_profile(configuration), configuration.home.run)
    forge, waiting = Forge(configuration), ModelWatch(configuration.inference_endpoint)
    poller = zmq.Poller()
    poller.register(stop.fileno(), zmq.POLLIN)
    try:
        while not stop.requested:
            now = time.monotonic()
            forge.look(now, waiting.look(now))
            poller.poll(int(LOOK_S * 1000))
    finally:
        forge.close()
        waiting.close()
    log.info("ended")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
