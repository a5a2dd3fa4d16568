"""docs/protocol.md is what programs are written from: what it says is what the bridge does."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from tests.bridge.service import Service
from uvm import errors, protocol, refusals

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
EXAMPLES = re.findall(r"^    (\{.*\})\n    ([0-9a-f]+)$", TEXT, re.MULTILINE)
STRUCTS = [one for one in vars(protocol).values() if inspect.isclass(one) and issubclass(one, msgspec.Struct) and one.__struct_config__.tag]


def plain(value: Any) -> Any:
    """As the document writes values in JSON."""
    if isinstance(value, msgpack.ExtType):
        return "@" + value.data.hex().lstrip("0")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_the_document_has_its_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize(("text", "digits"), EXAMPLES)
def test_an_example_in_hexadecimal_is_what_its_json_says_and_a_message(text: str, digits: str) -> None:
    frame = bytes.fromhex(digits)
    assert plain(msgpack.unpackb(frame)) == json.loads(text)
    decode = protocol.decode_answer if json.loads(text)["op"] == "Reply" else protocol.decode_request
    decode(frame)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_message_and_each_of_its_fields_is_described(struct: type[msgspec.Struct]) -> None:
    assert f"`{struct.__name__}`" in TEXT or f'`"{struct.__name__}"`' in TEXT
    missing = [field for field in struct.__struct_fields__ if not re.search(rf"`{field}`|^\| {field} \|", TEXT, re.MULTILINE)]
    assert not missing


def test_every_error_type_has_its_line() -> None:
    ours = [name for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, errors.ImageError | errors.AttemptEnded)]
    bridges = re.findall(r'Error\(\s*id,\s*"(\w+)"', inspect.getsource(refusals))
    assert len(bridges) >= 8
    missing = [name for name in [*ours, *bridges] if name != "AttemptEnded" and f"| `{name}` |" not in TEXT]
    assert not missing


def test_the_client_in_the_document_works(service: Service) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert "import uvm" not in source and "ui_client" not in source
    environment = {**os.environ, "BATOS_BRIDGE": service.configuration.bridge_endpoint}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3.5"
