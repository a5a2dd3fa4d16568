"""tests/conformance/vectors.json against the real bridge and UVMs: what docs/protocol.md says of frames and values, byte by byte."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
import zmq

from deploy.settings import Configuration

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


class Raw:
    """A DEALER that sends and gets frames."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    def ask(self, frame: bytes) -> bytes:
        """The next answer."""
        self._socket.send(frame)
        assert self._socket.poll(30_000), "no answer within 30 s"
        return bytes(self._socket.recv())

    def send(self, target: Any, selector: str, *args: Any) -> dict[str, Any]:
        """A Send without a session; `args` may be msgspec.Raw. The answer's fields, `result` as bytes."""
        request = {"op": "Send", "id": 1, "target": target, "selector": selector, "args": list(args)}
        return fields(self.ask(msgspec.msgpack.encode(request)))

    def close(self) -> None:
        self._socket.close()
        self._context.term()


def fields(frame: bytes) -> dict[str, Any]:
    """The fields of an answer, `result` and `value` as the bytes that came."""
    raw = msgspec.msgpack.decode(frame, type=dict[str, msgspec.Raw])
    as_bytes = ("result", "value")
    return {name: bytes(value) if name in as_bytes else msgpack.unpackb(value, strict_map_key=False) for name, value in raw.items()}


@pytest.fixture(scope="module")
def raw(running: Configuration) -> Iterator[Raw]:
    connection = Raw(running.bridge_endpoint)
    made = connection.send("genesis_obj", "clone")
    connection.send(msgspec.Raw(made["result"]), "nameAs_", "conformance")
    yield connection
    connection.close()


def of(kind: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


@of("values")
def test_a_value_is_the_same_after_it_was_stored(raw: Raw, vector: dict[str, Any]) -> None:
    stored = raw.send("conformance", "setSlot_value_", "value", msgspec.Raw(bytes.fromhex(vector["value"])))
    assert stored["op"] == "Reply", stored
    got = raw.send("conformance", "value")["result"]
    expected = bytes.fromhex(vector.get("answer", vector["value"]))
    assert got == expected or (vector["name"] == "NaN" and math.isnan(msgpack.unpackb(got)))


@of("refused")
def test_what_is_no_value_is_refused(raw: Raw, vector: dict[str, Any]) -> None:
    answer = raw.send("conformance", "setSlot_value_", "value", msgspec.Raw(bytes.fromhex(vector["value"])))
    assert (answer["op"], answer.get("type")) == ("Error", vector["type"]), answer


@of("requests")
def test_a_request_has_its_answer(raw: Raw, vector: dict[str, Any]) -> None:
    answer = fields(raw.ask(bytes.fromhex(vector["frame"])))
    expected = {name: bytes.fromhex(value) if name in ("result", "value") else value for name, value in vector["answer"].items()}
    assert {name: answer.get(name) for name in expected} == expected, answer


@of("messages")
def test_a_message_means_what_stands_beside_it(vector: dict[str, Any]) -> None:
    assert meaning(msgpack.unpackb(bytes.fromhex(vector["frame"]), strict_map_key=False)) == vector["meaning"]


def meaning(value: Any) -> Any:
    """As vectors.json writes values: references and binary are maps of one key."""
    if isinstance(value, msgpack.ExtType):
        return {"ref": "@" + (value.data.hex().lstrip("0") or "0")}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {key: meaning(item) for key, item in value.items()}
    return [meaning(item) for item in value] if isinstance(value, list) else value
