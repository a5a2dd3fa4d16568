"""How long one client waits beside others' floods: `python benchmarks/fairness.py [SECONDS]`, real bridge, image and two UVMs.

Prints the median and 99th percentile of a client that asks for one slot at a time, alone and beside each flood, and the ratio of the latter
to its fair share: with k connections active, a k-th of the service, so k times the 99th percentile alone. The floods run on the same
processors, so what they take outside the service is in the figures too. The process of the bridge has to stay the same.
The floods are one principal. The client is once that one too, and once another one, with a key, over TCP: between principals there is
another level of turns, and its fair share is a half.

`an echo beside it` is the floor: a process that answers each message as it comes, asked by the same client beside the same flood. What it
waits for is the processors of this machine, and no service on it could answer sooner.

`at work` is the 99th percentile of the lone client without the time in which a thread of its own or of the bridge could have gone on, and
waited for a processor: where it is far below the other one, there are more busy processes than processors, and the ratios say little.
"""

import os
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.messages import awaken
from deploy import keys, service, supervision
from deploy.keys import ClientKey, PrincipalRecord
from deploy.settings import Configuration, load
from ui_client import Client
from uvm.protocol import Send, encode

SLOW = "def spin(self):\n    total = 0\n    for i in range(600000):\n        total = total + i\n    return total\n"


def flood(endpoint: str, connections: int, flying: int, frame: bytes, stop: Event) -> None:
    """Connections that keep so many messages under way each, until the stop. A tool of its own, in a session of its own."""
    os.setsid()
    with zmq.Context() as context:
        poller = zmq.Poller()
        sockets = []
        for _ in range(connections):
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, 0)
            socket.connect(endpoint)
            poller.register(socket, zmq.POLLIN)
            sockets.append(socket)
            for _ in range(flying):
                socket.send(frame)
        while not stop.is_set():
            for socket, _ in poller.poll(100):
                socket.recv()
                socket.send(frame)
        for socket in sockets:
            socket.close()


def echo(endpoint: str) -> None:
    """A process that answers whatever it is sent, until it is ended."""
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(endpoint)
        while True:
            socket.send(socket.recv())


def echoed(endpoint: str, seconds: float) -> float:
    """99th percentile of the time to an echo, in ms."""
    times: list[float] = []
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(endpoint)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.perf_counter()
            socket.send(b"?")
            socket.recv()
            times.append(1000 * (time.perf_counter() - began))
    return sorted(times)[len(times) * 99 // 100]


def waits(client: Client, seconds: float) -> tuple[float, float, int]:
    """Median and 99th percentile of the time to the answer in ms, and how many answers."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        client.send("genesis_obj", "name")
        times.append(1000 * (time.perf_counter() - began))
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100], len(times)


def at_work(client: Client, seconds: float, pids: list[int]) -> float:
    """99th percentile of the time to the answer in ms, less what threads of these processes waited for a processor meanwhile."""
    files = [(task / "schedstat").open() for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]

    def waited_ms() -> float:
        for file in files:
            file.seek(0)
        return sum(int(file.read().split()[1]) for file in files) / 1e6

    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        before = waited_ms()
        began = time.perf_counter()
        client.send("genesis_obj", "name")
        times.append(1000 * (time.perf_counter() - began))
        times[-1] -= waited_ms() - before
    for file in files:
        file.close()
    return sorted(times)[len(times) * 99 // 100]


def let_in(configuration: Configuration, directory: Path) -> Client:
    """A client that is another principal than the owner of the home: it has a key, and comes over TCP."""
    server, _ = keys.server_pair(configuration.home, zmq.curve_keypair)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    keys.write(configuration.home, "other", PrincipalRecord(keys.rights_of("read,send"), public))
    file = directory / "other.key"
    keys.write_private(file, ClientKey(public, secret, server.decode()))
    return Client(configuration=load({**os.environ, "BATOS_BRIDGE_KEY": str(file)}, directory), connect_timeout=60)


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as name:
        with zmq.Context() as context, context.socket(zmq.REP) as probe:
            port = probe.bind_to_random_port("tcp://127.0.0.1")
        environment = {"BATOS_HOME": f"{name}/var", "BATOS_METRICS_BASE_PORT": "0", "BATOS_BRIDGE_ENDPOINT": f"tcp://127.0.0.1:{port}"}
        os.environ.update(environment)
        configuration = load()
        needed = ("image", "bridge", "uvm-1", "uvm-2")
        service.start(configuration, [program for program in supervision.programs(configuration) if program.name in needed])
        try:
            awaken(configuration, environment)
            with Client(configuration.bridge_socket, configuration, connect_timeout=60) as client:
                for uvm in ("uvm-1", "uvm-2"):
                    client.send("genesis_obj", "name", via=uvm, deadline=60)
                spinner: Any = client.send("genesis_obj", "clone")
                client.create_method(spinner, "spin", SLOW)
                began = time.perf_counter()
                client.send(spinner, "spin")
                slow_s = time.perf_counter() - began
            floods = {
                f"32 connections, {slow_s:.1f} s a message": (32, 1, encode(Send(id=1, target=spinner, selector="spin"))),
                "10,200 messages at once": (1, 10_200, encode(Send(id=1, target="genesis_obj", selector="name"))),
                "65 connections, 3.9 MB a message": (
                    65, 1, encode(Send(id=1, target="genesis_obj", selector="respondsTo_", args=["q" * 3_900_000]))
                ),
                "1 connection, 65 frames of 3.9 MB": (
                    1, 65, encode(Send(id=1, target="genesis_obj", selector="respondsTo_", args=["q" * 3_900_000]))
                ),
                "64 connections, a slot a message": (64, 1, encode(Send(id=1, target="genesis_obj", selector="name"))),
            }  # fmt: skip
            processes = get_context("spawn")
            floor = f"ipc://{name}/echo.sock"
            echoing = processes.Process(target=echo, args=(floor,), daemon=True)
            echoing.start()
            with Client(configuration.bridge_socket, configuration) as client, let_in(configuration, Path(name)) as other:
                status = client.status()
                bridge = status["pid"]
                median, alone, count = waits(client, seconds)
                print(f"{'alone':<40} median {median:7.2f} ms   p99 {alone:8.2f} ms   (1.0)   {count} answers", flush=True)
                pids = [os.getpid(), bridge]  # on the way of every message; of the UVMs, which one is not known
                print(f"{'  an echo alone':<40} {'':17} p99 {echoed(floor, seconds):8.2f} ms", flush=True)
                print(f"{'alone, at work':<40} {'':17} p99 {at_work(client, seconds, pids):8.2f} ms", flush=True)
                median, other_alone, count = waits(other, seconds)
                print(
                    f"{'another principal, alone':<40} median {median:7.2f} ms   p99 {other_alone:8.2f} ms   (1.0)   {count} answers",
                    flush=True,
                )
                for label, (connections, flying, frame) in floods.items():
                    stop = processes.Event()
                    flooding = processes.Process(target=flood, args=(configuration.bridge_socket, connections, flying, frame, stop))
                    flooding.start()
                    while client.status()["queue"]["held"] < connections // 2:
                        time.sleep(0.1)
                    median, p99, count = waits(client, seconds)
                    other_median, other_p99, other_count = waits(other, seconds)
                    working = at_work(client, seconds, pids)
                    floor_p99 = echoed(floor, seconds)
                    stop.set()
                    flooding.join()
                    ratios = f"{p99 / alone:.1f} × alone, {p99 / alone / (connections + 1):.2f} × fair share"
                    print(f"{label:<40} median {median:7.2f} ms   p99 {p99:8.2f} ms   {ratios}   {count} answers", flush=True)
                    shares = f"{other_p99 / other_alone:.1f} × alone, {other_p99 / other_alone / 2:.2f} × fair share"
                    row = f"{'  another principal':<40} median {other_median:7.2f} ms   p99 {other_p99:8.2f} ms"
                    print(f"{row}   {shares}   {other_count} answers", flush=True)
                    print(f"{'  at work':<40} {'':17} p99 {working:8.2f} ms", flush=True)
                    print(f"{'  an echo beside it':<40} {'':17} p99 {floor_p99:8.2f} ms", flush=True)
                    deadline = time.monotonic() + 120
                    while client.status()["queue"]["held"] and time.monotonic() < deadline:
                        time.sleep(0.5)
                print("the bridge is the same process" if client.status()["pid"] == bridge else "THE BRIDGE WAS REPLACED")
        finally:
            service.stop(configuration, 60)


if __name__ == "__main__":
    main()
