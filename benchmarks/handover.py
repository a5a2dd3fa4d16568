"""What tools notice when the bridge is replaced: `python benchmarks/handover.py [SWAPS]`, from the repository's root.

Four clients count, one message after the other, each every 5 ms, at two fake UVMs; meanwhile the bridge is replaced, first by one that
follows it, then by an ordinary restart, so many times each. Prints one JSON object: for no replacement, handover and restart the
messages, their median and 99th percentile in ms, the longest wait in seconds, how many were sent again, and how many were lost or
doubled. The start of the new bridge, which takes a processor from everybody for a while, is part of both.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.uvm.bridge.service import Service

CLIENTS = 4
PACE_S = 0.005
CALM_S = 3.0
SETTLED_S = 0.5
"""Between two replacements, and after the last one."""


class CountingTool(threading.Thread):
    """One client: a message, its answer, a pause."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.stop = threading.Event()
        self.waits: list[float] = []
        self.resent = 0

    def run(self) -> None:
        with self._service.client(name="counting") as client:
            while not self.stop.is_set():
                began = time.perf_counter()
                client.send("x", "count", deadline=60)
                self.waits.append(time.perf_counter() - began)
                self.stop.wait(PACE_S)
            self.resent = client.resent


def under_load(service: Service, replace: Callable[[], None]) -> dict[str, float]:
    """What the clients saw while something was done."""
    before = service.counted()
    tools = [CountingTool(service) for _ in range(CLIENTS)]
    for tool in tools:
        tool.start()
    replace()
    for tool in tools:
        tool.stop.set()
    for tool in tools:
        tool.join()
    waits = sorted(wait for tool in tools for wait in tool.waits)
    return {
        "messages": len(waits),
        "median_ms": round(1000 * waits[len(waits) // 2], 2),
        "p99_ms": round(1000 * waits[len(waits) * 99 // 100], 2),
        "longest_s": round(waits[-1], 3),
        "resent": sum(tool.resent for tool in tools),
        "lost_or_doubled": service.counted() - before - len(waits),
    }


def main() -> None:
    swaps = int(sys.argv[1]) if len(sys.argv) > 1 else 7

    def often(replace: Callable[[], object]) -> None:
        for _ in range(swaps):
            time.sleep(SETTLED_S)
            replace()
        time.sleep(SETTLED_S)

    def restart() -> None:
        service.stop_bridge()
        service.start_bridge()

    with tempfile.TemporaryDirectory() as directory, Service(Path(directory)) as service:
        for name in ("uvm-1", "uvm-2"):
            service.start_uvm(name)
        measured = {
            "no replacement": under_load(service, lambda: time.sleep(CALM_S)),
            "handover": under_load(service, lambda: often(service.swap_bridge)),
            "restart": under_load(service, lambda: often(restart)),
        }
        print(json.dumps({"replacements": swaps, **measured}, indent=1))


if __name__ == "__main__":
    main()
