"""Messages per second through the real bridge and UVMs, 64 in flight, against a synchronous ROUTER echo in the same run.

Of writes also how many share a commit: the fewer, the more of their time is the image's disk.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import zmq

from deploy import metrics, service, supervision
from deploy.settings import Configuration, load
from ui_client import Client
from uvm.protocol import Reply, Send, decode_answer, encode

IN_FLIGHT = 64
SECONDS = 3.0


def rate(endpoint: str, make: Any) -> float:
    """Answers per second with `IN_FLIGHT` messages under way; `make(number)` is the payload."""
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    try:
        for number in range(1, IN_FLIGHT + 1):
            socket.send(make(number))
        answered, until, began = 0, time.monotonic() + SECONDS, time.monotonic()
        while time.monotonic() < until:
            answer = decode_answer(socket.recv())
            if not isinstance(answer, Reply):
                raise RuntimeError(f"not a reply: {answer}")
            answered += 1
            socket.send(make(IN_FLIGHT + answered))
        return answered / (time.monotonic() - began)
    finally:
        socket.close()
        context.term()


def echo(endpoint: str, stop: threading.Event, context: zmq.Context[Any]) -> None:
    """The floor: a ROUTER that answers each message as it comes."""
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(endpoint)
    answer = encode(Reply(id=1, result=None))
    while not stop.is_set():
        if socket.poll(100):
            peer, _ = socket.recv_multipart()
            socket.send_multipart([peer, answer])
    socket.close()


def floor(directory: Path) -> float:
    """Echo in a thread of this process: one hop, no work."""
    context: zmq.Context[Any] = zmq.Context()
    stop = threading.Event()
    endpoint = f"ipc://{directory}/echo.sock"
    thread = threading.Thread(target=echo, args=(endpoint, stop, context))
    thread.start()
    try:
        return rate(endpoint, lambda number: encode(Send(id=number, target="x", selector="x")))
    finally:
        stop.set()
        thread.join()
        context.term()


def commits(configuration: Configuration) -> float:
    """Transactions that the image's server has committed since its start."""
    port = metrics.port("image", configuration.home.run)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("batos_image_commits_total "))


def awaken(configuration: Configuration, environment: dict[str, str]) -> None:
    """Give the image its first objects, without a model."""
    subprocess.run([sys.executable, "-m", "uvm.awakening"], env={**os.environ, **environment}, check=True, timeout=120)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environment = {"BATOS_HOME": str(directory / "var"), "BATOS_METRICS_BASE_PORT": "0"}
        os.environ.update(environment)
        configuration = load()
        base = floor(directory)
        print(f"ROUTER echo, one hop: {base:,.0f} messages/s (1.0)")
        needed = ("image", "bridge", "uvm-1", "uvm-2")
        service.start(configuration, [program for program in supervision.programs(configuration) if program.name in needed])
        try:
            awaken(configuration, environment)
            with Client(configuration=configuration, connect_timeout=60) as client:
                for uvm in ("uvm-1", "uvm-2"):
                    client.send("genesis_obj", "name", via=uvm, deadline=60)
                clones = [client.send("genesis_obj", "clone") for _ in range(IN_FLIGHT)]
            endpoint = configuration.bridge_endpoint
            rows = {
                "read a slot": lambda number: encode(Send(id=number, target="genesis_obj", selector="name")),
                "write a slot": lambda number: encode(
                    Send(id=number, target=clones[number % IN_FLIGHT], selector="setSlot_value_", args=["n", number])
                ),
                "write, exactly once": lambda number: encode(
                    Send(
                        id=number,
                        target=clones[number % IN_FLIGHT],
                        selector="setSlot_value_",
                        args=["n", number],
                        session="bench",
                        seq=number,
                        floor=max(0, number - 2 * IN_FLIGHT),
                    )
                ),
            }
            for label, make in rows.items():
                before = commits(configuration)
                messages_s = rate(endpoint, make)
                committed = commits(configuration) - before
                share = f"   {messages_s * SECONDS / committed:.1f} messages a commit" if "write" in label else ""
                print(f"{label:<20} {messages_s:>8,.0f} messages/s ({messages_s / base:.3f}){share}")
        finally:
            service.stop(configuration, 60)


if __name__ == "__main__":
    main()
