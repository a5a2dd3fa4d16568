"""Messages a second through the bridge with fake UVMs that only echo: `python benchmarks/bridge.py [SECONDS]`, from the repository's root.

Prints one JSON object: for each number of requests in flight from one DEALER, messages/s and the median and 99th
percentile of the time to the answer in ms; and the same for one Client used by one thread.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import msgpack
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.uvm.bridge.service import Service


def pipelined(endpoint: str, in_flight: int, seconds: float) -> dict[str, float]:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    sent: dict[int, float] = {}
    times: list[float] = []
    number = 0
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        while len(sent) < in_flight:
            number += 1
            sent[number] = time.perf_counter()
            numbered = {"session": f"{began}", "seq": number, "floor": max(0, number - in_flight)}
            socket.send(msgpack.packb({"op": "Send", "id": number, "target": "x", "selector": "whoami", **numbered}))
        answer = msgpack.unpackb(socket.recv())
        times.append(time.perf_counter() - sent.pop(answer["id"]))
    context.destroy(linger=0)
    return summary(times, now - began)


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
        endpoint = service.configuration.bridge_endpoint
        measured = {f"in flight {n}": pipelined(endpoint, n, seconds) for n in (1, 64, 512)}
        print(json.dumps({**measured, "one client": one_client(service, seconds)}, indent=1))


if __name__ == "__main__":
    main()
