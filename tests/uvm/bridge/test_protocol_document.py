"""docs/protocol.md is what programs are written from: what it says is what the bridge does."""

import inspect
import itertools
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

from deploy.settings import BridgeSettings
from tests.uvm.bridge.service import Service
from uvm import errors, protocol
from uvm.bridge import dispatcher as dispatch
from uvm.bridge import refusals
from uvm.generation import proposals
from uvm.history import chronicle, listing, takings
from uvm.image import changes, contract, journal, nursery
from uvm.image import receipts as ledger
from uvm.language import source_limits as limits
from uvm.machine import batch
from uvm.rights import Limits
from uvm.runtime import gate, runtime
from uvm.runtime.primitives import GENESIS, MESSAGES, PLLM, TRAITS
from uvm.runtime.wishing import UPGRADES
from uvm.transporter import contracts, importer, methods, plan, survey, uploads
from uvm.values import exact
from uvm.values import slot_values as values

TEXT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
EXAMPLES = re.findall(r"^    (\{.*\})\n    ([0-9a-f]+)$", TEXT, re.MULTILINE)
STRUCTS = [
    kind for kind in vars(protocol).values() if inspect.isclass(kind) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
]


def plain(value: Any) -> Any:
    """As the document writes values in JSON."""
    if isinstance(value, msgpack.ExtType):
        return "@" + value.data.hex().lstrip("0")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    return [plain(element) for element in value] if isinstance(value, list) else value


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
    kinds = (errors.ImageError, errors.AttemptEnded)
    ours = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, kinds)]
    bridges = re.findall(r'Error\(\s*id,\s*"(\w+)"', inspect.getsource(refusals))
    assert len(bridges) >= 8
    missing = [name for name in [*ours, *bridges] if name != "AttemptEnded" and f"| `{name}` |" not in TEXT]
    assert not missing


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, cell by cell."""
    lines = TEXT.split(f"## {heading}\n", 1)[1].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| ---"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 1 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_primitive_has_its_line_with_as_many_arguments() -> None:
    holders = {"traits_obj": TRAITS, "pLLM_obj": PLLM, "message": MESSAGES, "genesis_obj": GENESIS, "upgrade_obj": UPGRADES}
    rows = {(on, selector.strip("`")): arguments for on, selector, arguments, *_ in table("What the primordial objects understand")}
    assert set(rows) == {(on, selector) for on, primitives in holders.items() for selector in primitives}
    for (on, selector), cell in rows.items():
        parameters = list(inspect.signature(holders[on][selector]).parameters.values())[2:]
        spread = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        optional = [parameter for parameter in parameters if parameter.default is not inspect.Parameter.empty or parameter.kind in spread]
        listed = re.sub(r"\([^)]*\)|, (?:1 to|a map|not begin).*", lambda match: "?" if "optional" in match[0] else "", cell)
        arguments = [part for part in listed.split(",") if part.strip()]
        assert (len(arguments), listed.count("?")) == (len(parameters), len(optional)), selector


def test_each_error_says_whether_the_same_number_may_have_another_outcome() -> None:
    rows = table("Errors")
    assert all(len(row) == 4 and re.match(r"yes|no", row[3]) for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


BOUNDS = {
    "bytes of a frame, request or answer": [BridgeSettings().max_frame_bytes],
    "bytes of a frame for what stands around a result": [protocol.ENVELOPE],
    "items of a frame that is not encoded as short as can be": [exact.SCANNED],
    "containers in each other": [values.DEPTH],
    "keys in the path of a Read": [protocol.PATH],
    "sends in a Transaction": [protocol.SENDS],
    "arrays and maps in a frame, a slot, an answer": [exact.CONTAINERS],
    "values in one slot": [values.MOST_VALUES],
    "bytes of one object's record": [gate.RECORD_BYTES],
    "ticks of a message": [Limits().ticks],
    "bytes and objects that a message may store": [Limits().bytes, Limits().objects],
    "sends within each other": [runtime.DEPTH],
    "bytes of a method's source that is audited": [limits.SOURCE_BYTES],
    "connections that wait for one number": [dispatch.WAITERS],
    "receipts of a session": [ledger.PAGE * ledger.PAGES],
    "days that a reference is kept for a tool": [nursery.LEASE_S // 86_400],
    "tries of a message that loses conflicts": [batch.TRIES],
    "UVMs that die on a message": [dispatch.DEATHS],
    "entries that a page of history looks at": [listing.LOOKED],
    "entries that an undo looks through for a message": [takings.LOOKED],
    "pages of a process's journal, and of its chronicle": [journal.PAGES, chronicle.PAGES],
    "bytes of an upload, as a multiple of what a message may store": [uploads.TIMES],
    "hours that an upload is kept for its import": [uploads.LEASE_S // 3600],
    "bytes of one encoded ObjectDocument": [plan.DOCUMENT_BYTES],
    "names, methods and replaced objects that the answer to an Import lists": [importer.LISTED],
    "models and adapters that an Export refers to": [survey.WEIGHTS],
    "methods with examples that one Import brings in": [contracts.MOST],
    "imports that a method remembers": [methods.HOPS],
    "examples that a method keeps, and about their bytes": [contract.KEPT, contract.BYTES],
    "previews whose methods are kept, and their minutes": [proposals.KEPT, proposals.LASTS_S // 60],
    "changes in one StateUpdate": [changes.MOST],
}


def test_the_bounds_are_those_of_the_code() -> None:
    rows = {what: [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", bound)] for what, bound, _ in table("Bounds")}
    assert {what: numbers for what, numbers in rows.items() if numbers} == BOUNDS


def test_the_client_in_the_document_works(service: Service) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert "import uvm" not in source and "ui_client" not in source
    environment = {**os.environ, "BATOS_BRIDGE": service.configuration.bridge_endpoint}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3.5"
