"""What a small write costs, in bytes of the image's file and in milliseconds: on a new image, and after others did much.

`python benchmarks/costs.py [SESSIONS [NAMES]]` (default 10,000 each). One UVM, one message at a time, so that each is a transaction of its
own. Every row's ratio is to the first row of the same run. A cost in proportion to what the message touches means ratios near 1.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import zmq

from deploy import service, supervision
from deploy.settings import Configuration, load
from uvm.protocol import Reply, Send, decode_answer, encode

WRITES = 128
"""Writes that a row measures: two pages of a journal, so that it does not matter how full the first page was."""
IN_FLIGHT = 256
LARGE = 3_000_000


class Tool:
    """A DEALER socket on the bridge, and the image's file."""

    def __init__(self, configuration: Configuration) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(configuration.bridge_endpoint)
        self._file = configuration.home.image_file
        self._sent = 0
        self._writes = 0

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def send(self, target: Any, selector: str, *args: Any, **options: Any) -> Any:
        """One message and its result."""
        return self.send_all([(target, selector, args, options)])[0]

    def send_all(self, messages: Iterable[tuple[Any, str, tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """Many messages, `IN_FLIGHT` under way at once; their results in order."""
        first, results = self._sent + 1, {}
        for target, selector, args, options in messages:
            self._sent += 1
            if self._sent - first - len(results) >= IN_FLIGHT:
                self._receive(results)
            self._socket.send(encode(Send(id=self._sent, target=target, selector=selector, args=list(args), **options)))
        while len(results) < self._sent - first + 1:
            self._receive(results)
        return [results[number] for number in range(first, self._sent + 1)]

    def _receive(self, results: dict[int, Any]) -> None:
        if not self._socket.poll(60_000):
            raise RuntimeError("the service does not answer")
        answer = decode_answer(self._socket.recv())
        if not isinstance(answer, Reply):
            raise RuntimeError(f"not a reply: {answer}")
        results[answer.id] = answer.result

    def cost(self, write: Callable[[int], tuple[Any, str, tuple[Any, ...], dict[str, Any]]]) -> tuple[float, float]:
        """Mean bytes and median milliseconds of `WRITES` messages, one after the other."""
        before, times = self._file.stat().st_size, []
        for _ in range(WRITES):
            self._writes += 1
            began = time.perf_counter()
            self.send_all([write(self._writes)])
            times.append(time.perf_counter() - began)
        return (self._file.stat().st_size - before) / WRITES, 1000 * statistics.median(times)


def measure(tool: Tool, sessions: int, names: int) -> Iterable[tuple[str, tuple[float, float]]]:
    """The rows, each with mean bytes and median milliseconds."""
    small, large = tool.send("genesis_obj", "clone"), tool.send("genesis_obj", "clone")

    def write(number: int) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
        return small, "setSlot_value_", ("n", number), {"session": "small", "seq": number, "floor": max(0, number - 2)}

    def new_session(number: int) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
        return small, "setSlot_value_", ("n", number), {"session": f"new-{number}", "seq": 1}

    def new_name(number: int) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
        return tool.send("genesis_obj", "clone"), "nameAs_", (f"measured {number}",), {}

    yield "a small write, new image", tool.cost(write)
    yield "a session's first write, new image", tool.cost(new_session)
    yield "a clone and its name, new image", tool.cost(new_name)
    tool.send_all((small, "setSlot_value_", ("n", number), {"session": f"of-{number}", "seq": 1}) for number in range(sessions))
    yield f"a small write, {sessions:,} sessions", tool.cost(write)
    yield f"a session's first write, {sessions:,} sessions", tool.cost(new_session)
    twins = tool.send_all(("genesis_obj", "clone", (), {}) for _ in range(names))
    tool.send_all((twin, "nameAs_", (f"name {number}",), {}) for number, twin in enumerate(twins))
    yield f"a small write, {names:,} names", tool.cost(write)
    yield f"a clone and its name, {names:,} names", tool.cost(new_name)
    tool.send(large, "setSlot_value_", "array", list(range(10**6, 10**6 + LARGE // 5)), session="large", seq=1)
    yield "a small write beside a slot of 3 MB", tool.cost(write)
    tool.send(large, "setSlot_value_", "array", [], session="large", seq=2)
    yield "a small write after it was overwritten", tool.cost(write)
    for number in range(1, 13):
        tool.send(large, "setSlot_value_", "text", f"{number:02}" + "x" * LARGE, session="large", seq=number + 2)
    yield "a small write after 12 sends of 3 MB", tool.cost(write)
    yield "a small slot of the object with 3 MB", tool.cost(lambda number: (large, "setSlot_value_", ("n", number), {}))


def main() -> None:
    """Print the table."""
    sessions, names = (int(text) for text in [*sys.argv[1:], "10000", "10000"][:2])
    with tempfile.TemporaryDirectory() as name:
        os.environ.update({"BATOS_HOME": str(Path(name) / "var"), "BATOS_METRICS_BASE_PORT": "0"})
        configuration = load()
        needed = ("image", "bridge", "uvm-1")
        service.start(configuration, [program for program in supervision.programs(configuration) if program.name in needed])
        try:
            subprocess.run([sys.executable, "-m", "uvm.awakening"], check=True, timeout=120, stdout=subprocess.DEVNULL)
            tool = Tool(configuration)
            base: tuple[float, float] | None = None
            for label, (octets, milliseconds) in measure(tool, sessions, names):
                base = base or (octets, milliseconds)
                print(
                    f"{label:<46}{octets:>12,.0f} bytes ({octets / base[0]:9.2f}){milliseconds:>10.2f} ms ({milliseconds / base[1]:8.2f})",
                    flush=True,
                )
            tool.close()
        finally:
            service.stop(configuration, 60)


if __name__ == "__main__":
    main()
