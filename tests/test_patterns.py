"""No pattern of ours ends in `$`, which stands before a line feed as well: what it lets through is no name, digest or key."""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from uvm.bridge import protocol as wire

ROOT = Path(__file__).parents[1]
PACKAGES = ("deploy", "inference_worker", "ui_client", "uvm", "zeo_server")


def texts(node: ast.expr) -> Iterator[str]:
    yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))


def patterns() -> Iterator[tuple[str, str]]:
    """Where each stands, and its text: what `Meta` has as its pattern, and what `re` is given."""
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            of_re = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
            given = [*(node.args[:1] if of_re else []), *(one.value for one in node.keywords if one.arg == "pattern")]
            yield from ((f"{path.relative_to(ROOT)}:{node.lineno}", text) for one in given for text in texts(one))


def test_no_pattern_ends_before_a_line_feed() -> None:
    found = dict(patterns())
    assert len(found) > 15
    assert [place for place, text in found.items() if "$" in text.replace(r"\$", "")] == []


@pytest.mark.parametrize("field", ["uvm", "incarnation"])
def test_a_line_feed_is_no_part_of_a_uvms_name(field: str) -> None:
    fields = {"op": "Ready", "uvm": "uvm-1", "incarnation": "a1", "pid": 1}
    assert isinstance(wire.decode_from_uvm(msgspec.msgpack.encode(fields)), wire.Ready)
    with pytest.raises(msgspec.ValidationError):
        wire.decode_from_uvm(msgspec.msgpack.encode({**fields, field: f"{fields[field]}\n"}))
