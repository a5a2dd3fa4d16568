"""Whatever stands in a bundle is answered with an error of its own kind, or comes in whole; it is never a fault of ours."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.uvm.images import awakened
from tests.uvm.transporter.world import World
from uvm.machine.delivery import Answered, Failed
from uvm.protocol import Import
from uvm.values.tagged import TAGS

KEYS = st.sampled_from(["a", "b", "@1", "@2a", "genesis_obj", "codex"])
PAYLOADS = KEYS | st.integers() | st.sampled_from(["ab" * 32, "name:x", "-1", "nan", "@" + "f" * 16, "@zz"]) | st.binary(max_size=4)
LEAVES = PAYLOADS | st.none() | st.booleans() | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(TAGS)), inner, min_size=1, max_size=1)
        | st.dictionaries(KEYS | st.sampled_from(["taken", "items", "length", "numbers", "0"]), inner, max_size=3)
        | st.fixed_dictionaries({"queue": st.fixed_dictionaries({"taken": inner, "items": inner})})
        | st.fixed_dictionaries({"vector": st.fixed_dictionaries({"length": inner, "numbers": inner})})
    ),
    max_leaves=10,
)
SLOTS = st.dictionaries(st.sampled_from(["x", "m", "is*", "parent*", "_y", "mirror_", "clone", "names*", "ü"]), TREES, max_size=3)
METHOD = st.fixed_dictionaries(
    {
        "selector": st.sampled_from(["m", "x", "_y", "def"]),
        "source": st.sampled_from(["def m(self):\n    return 1\n", "def x(self, a):\n    return a", "x", "\x00"]),
    },
    optional={
        "positional": st.integers(0, 3),
        "proof": TREES,
        "imports": st.lists(TREES, max_size=2),
        "examples": TREES,
        "quarantined": st.text(max_size=3),
        "policy": st.booleans(),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"key": KEYS},
    optional={
        "names": st.lists(st.sampled_from(["a", "b", "genesis_obj", "", "_x"]), max_size=2),
        "parents": st.lists(TREES | st.sampled_from([{"ref": "traits_obj"}, {"ref": "a"}]), max_size=2),
        "slots": SLOTS,
        "methods": st.dictionaries(st.sampled_from(["m", "x", "n"]), METHOD, max_size=2),
    },
)


@pytest.fixture(scope="module")
def world() -> Iterator[Any]:
    with awakened() as image:
        yield World(image)


@given(st.lists(DOCUMENTS, max_size=3), st.lists(KEYS, max_size=2), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate])
def test_what_stands_in_a_bundle_harms_nothing(
    world: World, documents: list[Any], roots: list[str], replace: bool, elsewhere: bool
) -> None:
    image = "elsewhere" if elsewhere else world.export()[0].image
    bundle = {"image": image, "tid": b"12345678", "roots": roots, "objects": [encoded(document) for document in documents]}
    outcome = world.ask(Import(id=1, bundle=encoded(bundle), replace=replace))
    if isinstance(outcome, Failed):
        assert outcome.error.type != "KernelFault", outcome.error.message
    else:
        assert isinstance(outcome, Answered)
        answer = world.take_in(world.bundle(), replace=True)
        assert answer["new"] == 0 and not any(answer["replaced"].values())


def encoded(value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:  # a number that MessagePack has not
        return b"\xc1"
