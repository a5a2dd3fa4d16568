"""Sends, reads and assignments of compiled methods, one message at a time, without batch or bridge."""

import pytest

from tests.uvm.images import awakened
from uvm.errors import AttemptEnded, ImageError
from uvm.image.image import Image
from uvm.image.methods import install, method
from uvm.objects import PARENTS, UvmObject
from uvm.runtime.attempt import Attempt, Miss, Thought
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import DEPTH, FunctionCache, Runtime


class World:
    """A runtime and an object of somebody's own."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.runtime = Runtime(image, PRIMITIVES)
        self.shop = UvmObject({PARENTS: [image.named("genesis_obj")], "name": "shop", "cost": 4, "tags": ["new"]})
        image.connection.add(self.shop)

    def put(self, selector: str, body: str, parameters: str = "", holder: UvmObject | None = None) -> None:
        count = len([name for name in parameters.split(",") if name.strip() and "=" not in name])
        source = f"def {selector}(self{', ' + parameters if parameters else ''}):\n    {body}\n"
        install(holder or self.shop, method(selector, source, count, "test", {}))

    def attempt(self, **options) -> Attempt:
        return Attempt(**{"ticks": 100_000, "seconds": 5.0} | options)

    def send(self, selector: str, *args, **options):
        """The result, or the error's type."""
        kwargs = options.pop("kwargs", {})
        self.last = self.attempt(**options)
        try:
            return self.runtime.run(self.last, self.shop, selector, args, kwargs)
        except (ImageError, AttemptEnded) as error:
            return type(error)


@pytest.fixture
def world():
    with awakened() as image:
        image.manager.begin()
        yield World(image)


def name(kind):
    return getattr(kind, "__name__", kind)


@pytest.mark.parametrize(
    ("selector", "args", "answer"),
    [
        ("cost", (), 4),
        ("cost", (1,), "BadArguments"),
        ("_slots", (), "NotAllowed"),
        ("x" * 129, (), "NotAllowed"),
        ("scaled_", (2,), 8),
        ("scaled_", (), "BadArguments"),
        ("scaled_", (1, 2, 3), "BadArguments"),
        ("fails", (), "MethodFailed"),
        ("endless", (), "TicksSpent"),
        ("deep", (), "TooDeep"),
        ("cost_of_all", (), "Miss"),
    ],
)
def test_a_send_ends_in_a_value_or_in_a_typed_error(world, selector, args, answer):
    world.put("scaled_", "return self.cost * a * by", "a, by=1")
    world.put("fails", "return 1 / 0")
    world.put("endless", "while True:\n        pass")
    world.put("deep", "return self.deep()")
    assert name(world.send(selector, *args)) == answer


def test_sends_nest_so_deep_and_no_deeper(world):
    world.put("down_", "return 0 if n == 0 else 1 + self.down_(n - 1)", "n")
    assert world.send("down_", DEPTH - 1) == DEPTH - 1
    assert name(world.send("down_", DEPTH)) == "TooDeep"


def test_a_method_assigns_its_own_receivers_slots_and_no_others(world):
    other = UvmObject({PARENTS: [world.image.named("genesis_obj")], "cost": 1})
    world.image.connection.add(other)
    world.put("mine", "self.cost = 9\n    return self.cost")
    world.put("theirs_", "other.cost = 9", "other")
    assert world.send("mine") == 9
    assert name(world.send("theirs_", other)) == "NotAllowed" and other.own("cost") == 1


def test_a_change_in_place_is_kept_with_or_without_the_mark_and_journalled(world):
    world.put("add_", "self.tags.append(a)", "a")
    world.send("add_", "red")
    assert [(slot, before, after) for _, slot, before, after, _ in world.last.effects()] == [("tags", ["new"], ["new", "red"])]


def test_an_attempt_that_may_only_look_changes_nothing(world):
    world.put("mine", "self.cost = 9")
    assert name(world.send("mine", writable=False)) == "NotAllowed" and world.shop.own("cost") == 4


def test_a_thought_that_is_not_there_ends_the_attempt_and_one_that_is_goes_on(world):
    world.put("ask", "return self.infer_('why?') + '!'")
    with pytest.raises(Thought) as raised:
        world.runtime.run(world.attempt(), world.shop, "ask", (), {})
    assert world.send("ask", thoughts={raised.value.key: "so"}) == "so!"


def test_a_miss_carries_the_message_and_the_plan_of_the_image(world):
    with pytest.raises(Miss) as raised:
        world.runtime.run(world.attempt(), world.shop, "worth", (1,), {"by": 2})
    miss = raised.value
    assert miss.reified.own("selector") == "worth" and miss.receiver is world.shop
    assert miss.plan["prompt"].endswith("def worth(self, a, by):\n")


def test_the_end_of_one_attempt_does_not_reach_the_next(world):
    world.put("endless", "while True:\n        pass")
    world.send("endless")
    assert world.send("cost") == 4


def test_compiled_methods_are_shared_by_source_and_the_least_used_go_first():
    cache = FunctionCache(limit=100)
    for digest in ("a", "b"):
        cache.put(digest, print, 50)
    assert cache.get("a") is not None
    cache.put("c", print, 50)
    assert cache.get("b") is None and cache.get("a") is not None and cache.get("c") is not None
    cache.put("huge", print, 1000)
    assert cache.get("huge") is not None, "what is used now stays, however large"
