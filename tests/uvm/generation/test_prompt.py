"""The prompt that the image builds is the prompt that the forge trains on."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from inference_worker.forge import render
from tests.uvm.images import Bench, awakened
from uvm.generation.request import MethodRequest
from uvm.image.views import COVENANT
from uvm.machine.delivery import Answered
from uvm.protocol import Example, decode_value
from uvm.values.examples import line

_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)
_plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _texts
_values = st.recursive(_plain, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_texts, inner, max_size=6), max_leaves=12)
_names = st.from_regex(r"slot_[a-z]{1,8}", fullmatch=True)


def test_the_first_paragraph_is_the_same() -> None:
    assert COVENANT == render.COVENANT


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(_names, _values, max_size=30), st.lists(_values, max_size=3), st.dictionaries(st.sampled_from(["by", "limit"]), _plain)
)
def test_the_image_and_the_forge_write_the_same_prompt(slots: Any, args: Any, kwargs: Any) -> None:
    with awakened() as image:
        bench = Bench(image)
        answer = bench.send("genesis_obj", "clone")
        assert isinstance(answer, Answered)
        reference = decode_value(answer.result)
        image.manager.begin()
        twin = image.at(reference)
        for name in twin.names():
            twin.drop(name)
        for name, value in slots.items():
            twin.put(name, value)
        image.manager.commit()
        outcome = bench.send(reference, "do_it", *args, kwargs=kwargs)
        assert isinstance(outcome, MethodRequest)
        assert outcome.plan["prompt"] == render.prompt(slots, "do_it", args, kwargs)


@given(
    st.lists(_values, max_size=2),
    st.dictionaries(_names, _values, max_size=8),
    st.none() | st.dictionaries(_names, _values, max_size=8),
    _values,
    st.sampled_from(["result", "changed", "raises"]),
)
def test_the_image_and_the_forge_write_the_same_examples(args: Any, slots: Any, changed: Any, result: Any, kind: Any) -> None:
    called = render.call("do_it", args, {})
    if kind == "raises":
        mine = Example(args=args, slots=slots, raises="ValueError")
        assert line("do_it", mine) == render.example(called, slots=slots, raises="ValueError")
    elif kind == "result":
        mine = Example(result, args, slots=slots, changed=UNSET if changed is None else changed)
        assert line("do_it", mine) == render.example(called, result=render.value(result), slots=slots, changed=changed)
    else:
        mine = Example(args=args, slots=slots, changed=changed or {})
        assert line("do_it", mine) == render.example(called, slots=slots, changed=changed or {})
