"""A method cannot tell its trial from service: whatever the language lets it observe is the same in both, on the same image."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.uvm.houses import House, make_shop
from tests.uvm.images import awakened
from tests.uvm.language.sampler import Sampler
from uvm.generation import verdicts
from uvm.generation.request import MethodRequest
from uvm.generation.verdicts import storable
from uvm.image.image import Image
from uvm.language.compiler import examine
from uvm.language.grammar import grammar_for
from uvm.machine.delivery import Answered, Delivery, Failed
from uvm.objects import PARENTS, UvmObject
from uvm.protocol import CreateMethod, decode_value, encode
from uvm.runtime.primitives import PRIMITIVES
from uvm.trial.client import TrialServer

NOW = 1_700_000_000.0

ARGUMENTS = {
    "setSlot_value_": ["'mark', 1", "'cost', [1]", "'clone', 1", "'stage', 2", "'é', 1"],
    "removeSlot_": ["'mark'", "'SELECTOR'", "'clone'", "'stage'"],
    "slot_": ["'cost'", "'methods'", "'messages'", "'clones'", "'stage'", "'owner'", "'proof'", "'drafts'", "'born'"],
    "perform_": ["'respondsTo_', ['SELECTOR']", "'explain_', ['SELECTOR']", "'slotNames'"],
    "addParent_": ["one", "self", "self.other"],
    "removeParent_": ["one", "self.other"],
    "respondsTo_": ["'SELECTOR'", "'stage'", "'nothing'"],
    "nameAs_": ["'known'", "'genesis_obj'"],
    "forgetName_": ["'known'", "'genesis_obj'"],
    "explain_": ["'SELECTOR'", "'clone'", "'reflectOn_'", "'worth'"],
    "mirror_": ["'slotNames'", "'names'", "'explain_', 'SELECTOR'", "'setSlot_value_', 'now', 1", "'SELECTOR'"],
    "routed_": ["one"],
    "fineTuneWith_": ["[{'prompt': 'a', 'answer': 'b'}]"],
    "wishFor_": ["['small==2']", "'small'", "[]"],
    "beWritten_": ["{}", "1"],
}
"""What each primitive is called with; one that is not here is called without arguments."""


def needed(primitive: str, argument: str) -> str:
    """What an object must understand besides the primitive, so that nothing is missed."""
    return argument if primitive == "slot_" else f"'{primitive}'"


ENDING = {"decline_", "infer_"}
"""These end the attempt, so that a method observes nothing of them."""

WATCH = """\
def SELECTOR(self):
    seen = []
    for one in [*self.things, self, self.clone(), *self.parents()]:
CALLS
    counted = [self.genesis.slot_(name) for name in ['methods', 'messages', 'clones']]
    return [seen, counted, self.slotNames(), self.names(), self.now(), f"{self} {self.clone()} {self.things}"]
"""


STRANGER = """\
def doesNotUnderstand_(self, message):
    raise ValueError(f'{message.call} {message.signature} {message.receiver} {message.caller}')
"""


class Both:
    """An image with a shop that holds whatever a method can get hold of, and the two ways to run a method on it."""

    def __init__(self, image: Image, server: TrialServer, home: Path) -> None:
        self.house = House(image, server, {"worth": ["    return self.cost"]}, home)
        self.image = image
        self.shop = make_shop(self.house)
        self.number = 0
        self.tell("worth", "def worth(self):\n    return self.cost\n")
        image.manager.begin()
        shop = image.at(self.shop)
        message = image.shard("messages", self.key).own(self.key)
        neighbour = UvmObject({PARENTS: shop.parents(), "cost": 1.5, "label": "other"})
        named = [image.named(name) for name in image.root["primordial"]]
        shop.put("other", neighbour)
        shop.put("shelf", {"a": [1, "b", 2.5], "b": {"c": None}, "d": "a text", "e": True})
        shop.put("genesis", image.named("genesis_obj"))
        shop.put("things", [*named, message, shop.own("worth"), image.root["codex"], neighbour, UvmObject({PARENTS: [message], "x": 1})])
        image.manager.commit()
        for name, target in (("shop", shop), ("other", neighbour)):
            image.manager.begin()
            image.give_name(target, name)
            image.manager.commit()
            self.house.bench.install(name, "doesNotUnderstand_", STRANGER, 1)

    def tell(self, selector: str, source: str) -> tuple[Any, Any]:
        """What the method answers in its trial, and in service right after its installation."""
        self.number += 1
        request = CreateMethod(id=1, target=self.shop, selector=selector, source=source, session="t", seq=self.number)
        delivery = Delivery(1, encode(request), "local", False, 0.0, 60.0)
        delivery.now = NOW
        (outcome,) = self.house.bench.run(delivery)
        assert isinstance(outcome, MethodRequest)
        self.key = outcome.key
        self.house.write(outcome)
        (outcome,) = self.house.bench.run(delivery)
        if isinstance(outcome, Failed):
            raise outcome.error
        assert isinstance(outcome, Answered)
        in_trial = decode_value(outcome.result)["proof"]["trial"]["result"]
        service = self.house.bench.delivery(self.shop, selector)
        service.now = NOW
        (outcome,) = self.house.bench.run(service)
        assert isinstance(outcome, Answered), getattr(outcome, "error", outcome)
        return in_trial, storable(decode_value(outcome.result))


@pytest.fixture(scope="module")
def both(server: TrialServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with awakened() as image, pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "KEPT_BYTES", 1_000_000)
        yield Both(image, server, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("primitive", sorted(set(PRIMITIVES) - ENDING))
def test_every_primitive_on_every_object_that_can_be_reached(both: Both, primitive: str) -> None:
    selector = f"watch_{primitive}"
    calls = [
        f"        answer = None\n        try:\n"
        f"            if one.respondsTo_('{primitive}') and one.respondsTo_({needed(primitive, argument)}):\n"
        f"                answer = one.{primitive}({argument})\n            seen.append(f'{{answer!r}}')\n"
        f"        except Exception as error:\n            seen.append(f'{{error}}')\n"
        for argument in ARGUMENTS.get(primitive, [""])
    ]
    in_trial, in_service = both.tell(selector, WATCH.replace("CALLS", "".join(calls)).replace("SELECTOR", selector))
    assert in_trial == in_service
    assert len(in_trial[0]) >= 15


@pytest.mark.parametrize("seed", range(6))
def test_sampled_expressions(both: Both, seed: int) -> None:
    grammar = grammar_for(["cost", "pieces", "tags", "other", "shelf"], ["slotNames", "names", "now", "worth"], [])
    sampler, chance = Sampler(grammar, {"local": ["one"], "name": ["one"], "attribute": ["cost", "name", "born"]}, size=40), Random(seed)
    tried = [
        f"    try:\n        seen.append(f'{{{expression}!r}}')\n    except Exception as error:\n        seen.append(f'{{error}}')\n"
        for expression in (sampler.draw(chance, "expression") for _ in range(200))
        if "'" not in expression and compiles(f"    f'{{{expression}!r}}'\n")
    ]
    source = f"def sample_{seed}(self):\n    one = self.other\n    seen = []\n{''.join(tried[:50])}    return seen\n"
    in_trial, in_service = both.tell(f"sample_{seed}", source)
    assert in_trial == in_service
    assert len(set(in_trial)) > 10


def compiles(body: str) -> bool:
    """Whether the language has it."""
    return examine(f"def sample(self):\n    one = self.other\n{body}", "sample")[0] is not None
