"""The prompt that the image builds is the prompt that the forge trains on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from inference_worker.forge import render
from tests.uvm.images import Bench, awakened
from uvm.generation.request import MethodRequest
from uvm.image.views import COVENANT
from uvm.machine.delivery import Answered
from uvm.protocol import decode_value

_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60)
_plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _texts
_values = st.recursive(_plain, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_texts, inner, max_size=6), max_leaves=12)
_names = st.from_regex(r"slot_[a-z]{1,8}", fullmatch=True)


def test_the_first_paragraph_is_the_same():
    assert COVENANT == render.COVENANT


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(_names, _values, max_size=30), st.lists(_values, max_size=3), st.dictionaries(st.sampled_from(["by", "limit"]), _plain)
)
def test_the_image_and_the_forge_write_the_same_prompt(slots, args, kwargs):
    with awakened() as image:
        bench = Bench(image)
        twin = bench.send("genesis_obj", "clone")
        assert isinstance(twin, Answered)
        reference = decode_value(twin.result)
        image.manager.begin()
        one = image.at(reference)
        for name in one.names():
            one.drop(name)
        for name, value in slots.items():
            one.put(name, value)
        image.manager.commit()
        outcome = bench.send(reference, "do_it", *args, kwargs=kwargs)
        assert isinstance(outcome, MethodRequest)
        assert outcome.plan["prompt"] == render.prompt(slots, "do_it", args, kwargs)
