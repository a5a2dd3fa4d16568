"""Frames as no program should send them: random bytes, mutated requests, and requests of the right form with values of the wrong kind.

`python -m tests.hostile.frames --frames 100000` sends them to a real service, a burst at a time; each must be answered, and nothing harmed.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import zmq

from tests.hostile.fortress import FAULTS, Fortress

BURST = 64
SILENCE_S = 60.0

_FIELDS: dict[str, dict[str, Any]] = {
    "Hello": {"versions": [1], "client": "x"},
    "Send": {
        "target": "genesis_obj",
        "selector": "clone",
        "args": [],
        "kwargs": {},
        "session": "fuzz",
        "seq": 1,
        "floor": 0,
        "deadline_ms": 500,
        "examples": [{"changed": {}, "slots": {}}],
        "preview": False,
    },
    "Contract": {
        "target": "fuzzed",
        "selector": "m",
        "examples": [{"result": 1, "slots": {"name": 1}, "changed": {}}],
        "remove": [1],
        "deadline_ms": 500,
    },
    "CreateMethod": {
        "target": "fuzzed",
        "selector": "m",
        "source": "def m(self):\n    return 1\n",
        "examples": [{"result": 1}],
        "deadline_ms": 500,
    },
    "Inspect": {"target": "genesis_obj"},
    "GetFullState": {"tid": b"", "after": b"", "limit": 3},
    "Export": {"targets": ["fuzzed"], "tid": b"", "number": 0, "offset": 0, "blob": ""},
    "Upload": {"data": b"x", "upload": None, "blob": "", "offset": 0, "session": "fuzz", "seq": 1},
    "Import": {
        "bundle": msgpack.packb(
            {"image": "", "tid": b"", "roots": ["a"], "objects": [msgpack.packb({"key": "a", "slots": {"x": {"ref": "a"}}})]}
        ),
        "upload": None,
        "rename": {"a": "b"},
        "replace": False,
        "preview": True,
    },
    "Subscribe": {},
    "Release": {"references": [msgpack.ExtType(1, bytes(8))], "session": ""},
    "GetStatus": {},
}
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf")),
    *("", "x", "@7", "@", "é", "\x00", "../..", "a" * 300, b"", b"\xff" * 8, b"x" * 1000),
    *([], [[]], [1] * 100, {}, {"a": 1}, {1: 2}, {None: 1}, {b"x": 1}, {1.5: 1}),
    *(
        msgpack.ExtType(1, bytes(8)),
        msgpack.ExtType(1, b"x"),
        msgpack.ExtType(2, bytes(8)),
        msgpack.Timestamp(1, 2),
        msgpack.ExtType(127, b""),
    ),
)
_TARGETS = ("genesis_obj", "traits_obj", "pLLM_obj", "brick", "heartbeat_obj", "@7", "@1", "@c", "nobody")
_SELECTORS = (
    "clone setSlot_value_ removeSlot_ slot_ perform_ slotNames parents addParent_ removeParent_ respondsTo_ nameAs_ forgetName_ names now"
    " explain_ mirror_ decline_ doesNotUnderstand_ infer_ routed_ fineTuneWith_ beWritten_ content objects methods"
).split()


def frames(seed: int) -> Iterator[bytes]:
    """Frames without end, the same ones for the same seed; each has an id of its own where it can be read."""
    dice = random.Random(seed)
    number = 0
    while True:
        number += 1
        kind = dice.choice(list(_FIELDS))
        request: dict[Any, Any] = {"op": kind, "id": number, **_FIELDS[kind]}
        if "seq" in request:
            request["session"] = f"f{number}"
        match dice.randrange(5):
            case 0:
                yield dice.randbytes(dice.randrange(1, 200))
            case 1:
                mutated = bytearray(msgpack.packb(request))
                for _ in range(dice.randrange(1, 6)):
                    mutated[dice.randrange(len(mutated))] = dice.randrange(256)
                yield bytes(mutated)
            case 2:
                packed = msgpack.packb(request)
                yield packed[: dice.randrange(len(packed))] or b"\xc1"
            case 3:
                values = [dice.choice(_ODD) for _ in range(dice.randrange(4))]
                sent = {"target": dice.choice(_TARGETS), "selector": dice.choice(_SELECTORS), "args": values}
                yield msgpack.packb({"op": "Send", "id": number, "session": f"s{number}", "seq": 1, "deadline_ms": 500, **sent})
            case _:
                for _ in range(dice.randrange(1, 4)):
                    request[dice.choice([*request, dice.choice(_ODD[14:20])])] = dice.choice(_ODD)
                yield msgpack.packb(request)


def fuzz(endpoint: str, count: int, seed: int) -> Counter[str]:
    """Send so many frames; what they were answered, by op or type of error. Raises TimeoutError when an answer is missing."""
    answers: Counter[str] = Counter()
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    source = frames(seed)
    try:
        for start in range(0, count, BURST):
            burst = min(BURST, count - start)
            for _ in range(burst):
                socket.send(next(source))
            for _ in range(burst):
                if not socket.poll(int(SILENCE_S * 1000)):
                    raise TimeoutError(f"of frames {start} to {start + burst}, seed {seed}, one was not answered within {SILENCE_S:g} s")
                answer = msgpack.unpackb(socket.recv(), strict_map_key=False)
                answers[answer.get("type", answer["op"])] += 1
    finally:
        context.destroy(linger=0)
    return answers


def main() -> int:
    """Entry point; 1 when something was harmed."""
    parser = argparse.ArgumentParser(description="Send frames that no program should send to a real service.")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, Fortress(Path(home) / "var") as fortress:
        started = time.monotonic()
        answers = fuzz(fortress.running.configuration.bridge_endpoint, options.frames, options.seed)
        seconds = time.monotonic() - started
        faults = [f"{count} were answered {kind}" for kind, count in answers.items() if kind in FAULTS]
        harm = "; ".join([*faults, *filter(None, [fortress.harm(policy=True)])])
    sys.stdout.write(f"{options.frames} frames in {seconds:.0f} s, seed {options.seed}: {dict(answers.most_common())}\n")
    sys.stdout.write(f"harm: {harm or 'none'}\n")
    return 1 if harm else 0


if __name__ == "__main__":
    raise SystemExit(main())
