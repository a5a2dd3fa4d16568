"""Processor time of a whole UVM for a message: `python benchmarks/machine.py [MESSAGES]`.

This program is the UVM's bridge, and keeps 64 deliveries in flight.
The floor of the same run is a process that answers each delivery as it comes, with what is ready: to be woken, to receive, and to send. A
UVM decodes the delivery and the request besides, runs it in a transaction, encodes the answer, and tells what it spent and changed.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from deploy import service, supervision
from deploy.settings import load
from uvm.bridge import protocol as wire
from uvm.protocol import Reply, Send, decode_answer, encode

IN_FLIGHT = 64
MESSAGES = 20_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

Make = Callable[[int], Send]


def echo(endpoint: str) -> None:
    """The floor, a process of its own."""
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    socket.send(wire.encode(wire.Ready("echo", "1", os.getpid())))
    answer = wire.encode(wire.Done(1, encode(Reply(id=1, result="genesis"))))
    while True:
        socket.poll()
        try:
            while True:
                socket.recv(zmq.NOBLOCK)
                socket.send(answer)
        except zmq.Again:
            continue


class Bridge:
    """What gives deliveries to one UVM and counts how many have ended."""

    def __init__(self, context: "zmq.Context[Any]", endpoint: str) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(endpoint)
        self._peer = b""
        self._pid = 0
        self._delivered = 0

    def close(self) -> None:
        self._socket.close()

    def meet(self) -> None:
        """Wait until the UVM is there."""
        while not self._pid:
            self._hear()

    def send(self, make: Make) -> Any:
        """One message and its result."""
        self._give(make)
        while (done := self._hear()) is None:
            pass
        answer = decode_answer(done.payload)
        if not isinstance(answer, Reply):
            raise RuntimeError(f"not a reply: {answer}")
        return answer.result

    def cost(self, make: Make, messages: int) -> float:
        """Processor seconds of the UVM for one of so many messages."""
        self._run(make, messages // 10)
        before = self._spent()
        self._run(make, messages)
        return (self._spent() - before) / messages

    def _run(self, make: Make, messages: int) -> None:
        delivered = ended = 0
        while ended < messages:
            while delivered < messages and delivered - ended < IN_FLIGHT:
                self._give(make)
                delivered += 1
            ended += self._hear() is not None

    def _give(self, make: Make) -> None:
        self._delivered += 1
        self._socket.send_multipart([self._peer, wire.encode(wire.Deliver(self._delivered, encode(make(self._delivered)), "local"))])

    def _hear(self) -> wire.Done | None:
        if not self._socket.poll(60_000):
            raise RuntimeError("the UVM does not answer")
        self._peer, frame = self._socket.recv_multipart()
        report = wire.decode_from_uvm(frame)
        if isinstance(report, wire.Ready):
            self._pid = report.pid
        return report if isinstance(report, wire.Done) else None

    def _spent(self) -> float:
        user, system = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) * _TICK_S


def read(number: int) -> Send:
    return Send(id=number, target="genesis_obj", selector="name")


def floor(context: "zmq.Context[Any]", directory: Path, messages: int) -> float:
    """Processor seconds of an answer that takes nothing to find."""
    endpoint = f"ipc://{directory}/echo.sock"
    bridge = Bridge(context, endpoint)
    child = subprocess.Popen([sys.executable, __file__, "--echo", endpoint])
    try:
        bridge.meet()
        return bridge.cost(read, 5 * messages)
    finally:
        child.kill()
        child.wait()
        bridge.close()


def main() -> None:
    """Print the table."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    context: zmq.Context[Any] = zmq.Context()
    with tempfile.TemporaryDirectory() as name:
        os.environ.update({"BATOS_HOME": str(Path(name) / "var"), "BATOS_METRICS_BASE_PORT": "0"})
        configuration = load()
        base = floor(context, Path(name), messages)
        print(f"{'an echo':<22}{1e6 * base:>8.1f} µs (1.0)", flush=True)
        programs = {program.name: program for program in supervision.programs(configuration)}
        bridge: Bridge | None = None
        service.start(configuration, [programs["image"], programs["uvm-1"]])
        try:
            subprocess.run([sys.executable, "-m", "uvm.awakening"], check=True, timeout=120, stdout=subprocess.DEVNULL)
            bridge = Bridge(context, configuration.uvms_endpoint)
            bridge.meet()
            clones = [bridge.send(lambda number: Send(id=number, target="genesis_obj", selector="clone")) for _ in range(IN_FLIGHT)]

            def write(number: int) -> Send:
                return Send(id=number, target=clones[number % IN_FLIGHT], selector="setSlot_value_", args=["n", number])

            def once(number: int) -> Send:
                return Send(
                    id=number,
                    target=clones[number % IN_FLIGHT],
                    selector="setSlot_value_",
                    args=["n", number],
                    session="bench",
                    seq=number,
                    floor=max(0, number - 2 * IN_FLIGHT),
                )

            rows: list[tuple[str, Make, int]] = [
                ("read a slot", read, messages),
                ("write a slot", write, messages // 4),
                ("write, exactly once", once, messages // 4),
            ]
            for label, make, many in rows:
                cost = bridge.cost(make, many)
                print(f"{label:<22}{1e6 * cost:>8.1f} µs ({cost / base:.2f})", flush=True)
        finally:
            if bridge is not None:
                bridge.close()
            service.stop(configuration, 60)
            context.term()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--echo"]:
        echo(sys.argv[2])
    else:
        main()
