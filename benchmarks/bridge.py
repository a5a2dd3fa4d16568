"""Messages a second through the bridge with fake UVMs that only echo: `python benchmarks/bridge.py [SECONDS]`, from the repository's root.

Prints one JSON object: for each number of requests in flight from one DEALER, messages/s, the median and 99th
percentile of the time to the answer in ms, and the processor time of the bridge's process a message in µs; and the same for one Client
used by one thread. The floor is a ROUTER in a process of its own that sends each frame back: of all numbers here the processor time as a
multiple of the floor's (`floors`) depends least on what else the machine does. A message through the bridge crosses two ROUTERs.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import msgpack
import psutil
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.uvm.bridge.service import Service


def echo(endpoint: str) -> None:
    """The floor: send each frame back to whom it came from."""
    socket = zmq.Context.instance().socket(zmq.ROUTER)
    socket.bind(endpoint)
    while True:
        socket.send_multipart(socket.recv_multipart())


@contextmanager
def floor(endpoint: str) -> Iterator[int]:
    """The process of the floor."""
    process = get_context("spawn").Process(target=echo, args=(endpoint,), daemon=True)
    process.start()
    try:
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


def cpu_s(pid: int) -> float:
    """Processor seconds of a process until now, all its threads together."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def pipelined(endpoint: str, pid: int, in_flight: int, seconds: float, numbered: bool = True) -> dict[str, float]:
    """Keep so many requests to the process `pid` under way; with a session and numbers, or without."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    sent: dict[int, float] = {}
    times: list[float] = []
    number = 0
    used = cpu_s(pid)
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        while len(sent) < in_flight:
            number += 1
            sent[number] = time.perf_counter()
            session = {"session": f"{began}", "seq": number, "floor": max(0, number - in_flight)} if numbered else {}
            socket.send(msgpack.packb({"op": "Send", "id": number, "target": "x", "selector": "whoami", **session}))
        answer = msgpack.unpackb(socket.recv())
        times.append(time.perf_counter() - sent.pop(answer["id"]))
    used = cpu_s(pid) - used
    context.destroy(linger=0)
    return {**summary(times, now - began), "cpu_us": round(1e6 * used / len(times), 1)}


def one_client(service: Service, seconds: float) -> dict[str, float]:
    client = service.client()
    times: list[float] = []
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        client.send("x", "whoami")
        times.append(time.perf_counter() - now)
    return summary(times, now - began)


def summary(times: list[float], seconds: float) -> dict[str, float]:
    times.sort()
    return {
        "per_s": round(len(times) / seconds),
        "median_ms": round(1000 * times[len(times) // 2], 3),
        "p99_ms": round(1000 * times[len(times) * 99 // 100], 3),
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with tempfile.TemporaryDirectory() as directory, Service(Path(directory)) as service:
        for name in ("uvm-1", "uvm-2"):
            service.start_uvm(name)
        with floor(f"ipc://{directory}/echo.sock") as pid:
            least = pipelined(f"ipc://{directory}/echo.sock", pid, 64, seconds)
        endpoint, bridge = service.configuration.bridge_endpoint, service.bridge.pid
        measured = {f"in flight {n}": pipelined(endpoint, bridge, n, seconds) for n in (1, 64, 512)}
        measured["in flight 64, no session"] = pipelined(endpoint, bridge, 64, seconds, numbered=False)
        for figures in measured.values():
            figures["floors"] = round(figures["cpu_us"] / least["cpu_us"], 2)
        print(json.dumps({"floor, in flight 64": least, **measured, "one client": one_client(service, seconds)}, indent=1))


if __name__ == "__main__":
    main()
