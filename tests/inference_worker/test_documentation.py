"""docs/inference.md is the protocol's reference: it names every message and field, and its example is what goes over the wire."""

import json
import re
import typing
from pathlib import Path

import msgspec
import pytest

from inference_worker import protocol
from inference_worker.errors import InferenceFailure

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "inference.md").read_text()
MESSAGES = [*typing.get_args(protocol.Request), *typing.get_args(protocol.Answer)]
PARTS = [protocol.Sampling, protocol.Output, protocol.AdapterState, protocol.TierState, protocol.File]


@pytest.mark.parametrize("struct", [*MESSAGES, *PARTS], ids=lambda struct: struct.__name__)
def test_every_message_and_field_is_documented(struct: type[msgspec.Struct]) -> None:
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert struct is protocol.File or (struct.__struct_config__.tag or struct.__name__) in named
    assert set(struct.__struct_fields__) <= named


def test_every_type_of_failure_is_documented() -> None:
    # Subclasses of these are told to clients under the type of their parent.
    types = {kind("").type for kind in InferenceFailure.__subclasses__()}
    assert types <= set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))


def test_the_example_is_what_goes_over_the_wire() -> None:
    blocks = re.findall(r"((?:^ {4}(?:[0-9a-f]{2} ?)+\n)+)", TEXT, re.MULTILINE)
    shown = re.findall(r'^ {4}(\{"op".*?\})\n\n', TEXT, re.MULTILINE | re.DOTALL)
    request, answer = (bytes.fromhex(block) for block in blocks)
    assert [msgspec.msgpack.decode(frame) for frame in (request, answer)] == [json.loads(text) for text in shown]
    generate, completed = protocol.decode_request(request), protocol.decode_answer(answer)
    assert isinstance(generate, protocol.Generate)
    assert isinstance(completed, protocol.Completed)
    assert protocol.encode(completed) == answer
