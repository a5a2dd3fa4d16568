"""Whatever graph of objects leaves an image is the same graph in another one: a property over graphs with every kind of value."""

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.uvm.images import awakened
from tests.uvm.transporter.test_tagged import FLOATS, INTEGERS, KEYS, MEMBERS, SCALARS, vector
from tests.uvm.transporter.world import World
from uvm.image.image import Image
from uvm.image.methods import install, method
from uvm.objects import PARENTS, Counter, MergingQueue, MergingSet, UvmObject
from uvm.protocol import Bundle, ObjectDocument, decode_document, encode

OBJECTS = 6
NUMBERS = st.integers(0, OBJECTS - 1)
METHOD_NAMES = ("total_price", "object", "methods", "add_")
SOURCES = (
    "def {0}(self, a=1):\n    return a\n",
    "def {0}(self, a=2):\n    # ümlaut, and no line feed at the end\n    return [a, self.price]",
)


class At(msgspec.Struct, frozen=True):
    """Stands for one of the graph's objects, or for a method of one."""

    number: int
    selector: str = ""


PARTS = SCALARS | st.builds(At, NUMBERS) | st.builds(At, NUMBERS, st.sampled_from(METHOD_NAMES))
VALUES = st.recursive(
    PARTS
    | st.builds(Counter, INTEGERS | FLOATS)
    | st.builds(MergingSet, st.lists(MEMBERS))
    | st.builds(vector, st.integers(1, 40), st.dictionaries(st.integers(0, 39), st.integers(-9, 9))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.builds(MergingQueue, st.lists(PARTS, max_size=3), st.integers(0, 3))
    ),
    max_leaves=8,
)
SLOTS = st.dictionaries(st.sampled_from(["price", "tags", "owner", "ref", "x"]), VALUES, max_size=4)


class Drawn(msgspec.Struct, frozen=True):
    """One object: slots in an order, parents among the earlier objects, methods by the source, or shared from another one."""

    slots: dict[str, Any]
    parents: list[int]
    methods: dict[str, int]
    shares: list[At]
    names: list[str]
    after: bool


DRAWN = st.lists(
    st.builds(
        Drawn,
        SLOTS,
        st.lists(NUMBERS, max_size=2, unique=True),
        st.dictionaries(st.sampled_from(METHOD_NAMES), st.integers(0, 1), max_size=2),
        st.lists(st.builds(At, NUMBERS, st.sampled_from(METHOD_NAMES)), max_size=2),
        st.lists(st.sampled_from(["shop", "a/b", "..", "mädchen 女", "%2E", "x" * 256, "CON", "~"]), max_size=2, unique=True),
        st.booleans(),
    ),
    min_size=OBJECTS,
    max_size=OBJECTS,
)


def build(image: Image, drawn: list[Drawn]) -> None:
    """The graph, in a transaction of its own; the first object has a name."""
    image.manager.begin()
    objects = [UvmObject() for _ in drawn]
    traits, names = image.named("traits_obj"), set[str]()

    def real(value: Any) -> Any:
        if isinstance(value, At):
            owner = objects[value.number]
            return owner.own(value.selector, None) if value.selector else owner
        if isinstance(value, list):
            return [real(element) for element in value]
        if isinstance(value, dict):
            return {key: real(element) for key, element in value.items()}
        if isinstance(value, MergingQueue):
            return MergingQueue([real(element) for element in value.items], value.taken)
        return value

    for number, spec in enumerate(drawn):
        objects[number].put(PARENTS, [objects[parent] for parent in spec.parents if parent < number] or [traits])
        for selector, source in spec.methods.items():
            proof = {"mode": "offered", "prompt": "write\n" * 20, "seed": 2**63, "drafts": [{"source": "x", "logprob": float("-inf")}]}
            install(objects[number], method(selector, SOURCES[source].format(selector), source, "robin", proof))
    for number, spec in enumerate(drawn):
        for share in spec.shares:
            shared = objects[share.number].own(share.selector, None)
            if shared is not None and share.selector not in objects[number]._slots:
                objects[number].put(share.selector, shared)
    for number, spec in enumerate(drawn):
        for slot, value in spec.slots.items():
            value = real(value)
            if not (type(value) is UvmObject and value.own("is*", "") == "method"):
                objects[number].put(slot, value)
        for name in [*spec.names, *(["first"] if number == 0 else [])]:
            if name not in names:
                names.add(name)
                image.give_name(objects[number], name)
    image.manager.commit()


def through_json(bundle: Bundle) -> Bundle:
    """The bundle as files would have it."""
    documents = [msgspec.to_builtins(decode_document(encoded)) for encoded in bundle.objects]
    read = [json.loads(json.dumps(document, allow_nan=False, ensure_ascii=False)) for document in documents]
    return msgspec.structs.replace(bundle, objects=[encode(msgspec.convert(document, ObjectDocument)) for document in read])


@given(DRAWN)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.reuse, Phase.generate])
def test_a_graph_is_the_same_in_another_image(drawn: list[Drawn]) -> None:
    with awakened() as here, awakened() as there:
        build(here, drawn)
        first, second = World(here), World(there)
        before = first.picture()
        bundle = first.bundle()
        second.take_in(through_json(bundle))
        assert second.picture() == before
        # Once more, from there: what is told of a method is what was told first, with the way that it took.
        methods_told = {key: document.methods for key, document in documents(second.bundle()).items()}
        assert {key: plain(methods) for key, methods in methods_told.items() if methods and key[0] != "@"} == {
            key: plain(document.methods) for key, document in documents(bundle).items() if document.methods and key[0] != "@"
        }
        # And into the image itself, where all of it is already: nothing changes.
        answer = first.take_in(bundle, replace=True)
        assert answer["new"] == 0 and not any(answer["replaced"].values())
        assert first.picture() == before and first.bundle().objects == bundle.objects


def documents(bundle: Bundle) -> dict[str, ObjectDocument]:
    return {document.key: document for document in map(decode_document, bundle.objects)}


def plain(methods: dict[str, Any]) -> list[Any]:
    """Methods without the imports that they went through, and without labels, in which references stand."""
    return sorted((msgspec.to_builtins(msgspec.structs.replace(document, imports=[])) for document in methods.values()), key=repr)
