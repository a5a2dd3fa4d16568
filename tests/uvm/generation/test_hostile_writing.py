"""Whatever the image's policy, a method or a tool does to the writing of methods: a typed error, and the UVM goes on."""

from typing import Any

import pytest

from tests.uvm.houses import BuildHouse, House, make_shop
from uvm.errors import GenerationBusy, ImageError
from uvm.generation.process.requests import MOST
from uvm.machine.delivery import Delivery
from uvm.protocol import CreateMethod, Example, encode

WORTH = ["    return self.cost * self.pieces", "    return self.cost / 0", "    return 5"]


def well(house: House, shop: Any) -> Any:
    """The same UVM still writes a method."""
    house.model.bodies["well"] = ["    return self.cost"]
    house.bench.install("pLLM_obj", "reflectOn_", REFLECT, 1)
    house.bench.install("pLLM_obj", "chooseFrom_", "def chooseFrom_(self, candidates):\n    return candidates[0]['index']\n", 1)
    return house.send(shop, "well") == 4


REFLECT = "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'x ' + message.signature, 'personas': ['brick']})\n"


@pytest.mark.parametrize(
    "answer",
    [
        "True",
        "0.0",
        "'0'",
        "[0]",
        "{'index': 99}",
        "self",
        "None",
        "-1",
        "7",
        "1",
        "10 ** 30",
        "1 / 0",
        "[0 for n in range(10 ** 7)]",
        "self.nothing_of_the_kind(candidates)",
        "self.infer_('which?')",
        "[one.update({'index': 1}) for one in candidates] and 1",
        "candidates.clear() or 1",
    ],
)
def test_a_choice_rule_chooses_a_draft_that_is_fit_or_none(build_house: BuildHouse, answer: Any) -> None:
    house = build_house(worth=WORTH, drafts=3)
    house.bench.install("pLLM_obj", "chooseFrom_", f"def chooseFrom_(self, candidates):\n    return {answer}\n", 1)
    shop = make_shop(house)
    error = house.send(shop, "worth")
    assert (error.type, error.details["selector"], error.details["failed"]) == ("Refused", "worth", "chooseFrom_")
    assert error.message.startswith("worth was not written") and "batos method pLLM_obj chooseFrom_" in error.remedy
    assert house.send(shop, "respondsTo_", "worth") is False
    assert well(house, shop)


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ("{'prompt': 'x' * 70000}", "Refused"),
        ("{'prompt': 'x', 'drafts': 'many'}", "Refused"),
        ("{'prompt': 'x', 'personas': 'brick'}", "Refused"),
        ("{'prompt': 'x', 'personas': ['nobody']}", "NoSuchObject"),
        ("{'prompt': 'x', 'personas': ['traits_obj']}", "NoModel"),
        ("{'prompt': 'x', 'personas': [self]}", "Refused"),
        ("{'prompt': 'x', 'routed': [[1, 2, 3]]}", "Refused"),
        ("{'prompt': 'x', 'temperature': 'hot'}", "Refused"),
        ("{'prompt': 'x', 'notes': {1, 2}}", "BadValue"),
        ("{'prompt': ''}", "BadArguments"),
        ("{'prompt': 5}", "BadArguments"),
        ("[1]", "BadArguments"),
        ("self.beWritten_({'prompt': 'x'})", "NotUnderstood"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_type(build_house: BuildHouse, plan: Any, kind: Any) -> None:
    house = build_house(worth=WORTH)
    house.bench.install("pLLM_obj", "reflectOn_", f"def reflectOn_(self, message):\n    return message.beWritten_({plan})\n", 1)
    shop = make_shop(house)
    assert house.send(shop, "worth").type == kind
    assert well(house, shop)


def test_a_plan_asks_for_no_more_than_its_bounds(build_house: BuildHouse) -> None:
    house = build_house(worth=WORTH)
    plan = "{'prompt': 'def worth(self)', 'drafts': 10 ** 9, 'max_tokens': 10 ** 9, 'temperature': 1e300, 'personas': ['brick'] * 50000}"
    house.bench.install("pLLM_obj", "reflectOn_", f"def reflectOn_(self, message):\n    return message.beWritten_({plan})\n", 1)
    assert house.send(make_shop(house), "worth") == 12
    (question,) = house.model.asked
    assert (len(question.samplings), question.max_tokens) == (16, 2048) and max(
        sampling.temperature for sampling in question.samplings
    ) == 2.0


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("while True:\n        pass", "TicksSpent DeadlineExceeded"),  # on a busy machine time is up first
        ("raise ValueError('no')", "MethodFailed"),
        ("return self.worth()", "NotUnderstood"),
        ("return self.perform_(message.selector)", "NotUnderstood"),
        ("self.doesNotUnderstand_(message)", "TooDeep"),
        ("message.receiver = 1\n    return message.beWritten_({'prompt': 'x'})", "NotAllowed"),
        ("return message.beWritten_(message)", "BadArguments"),
        ("return message.clone().beWritten_({'prompt': 'x'})", "BadArguments"),
    ],
)
def test_an_object_may_answer_what_it_does_not_understand_and_harms_itself_alone(build_house: BuildHouse, body: Any, kinds: Any) -> None:
    house = build_house()
    shop = make_shop(house)
    house.send(shop, "nameAs_", "shop")
    house.bench.install("shop", "doesNotUnderstand_", f"def doesNotUnderstand_(self, message):\n    {body}\n", 1)
    assert house.send(shop, "worth").type in kinds.split()
    assert well(house, make_shop(house))


@pytest.mark.parametrize(
    "body",
    [
        "self.tags.append(lambda: 1)\n    return self.stranger()",
        "q = []\n    self.tags = q\n    q.append({1, 2})\n    return self.stranger()",
        "twin = self.clone()\n    twin.tags.append({1})\n    return self.stranger()",
        "twin = self.clone()\n    twin.tags.append(lambda: 1)\n    return twin.stranger()",
        "a = []\n    a.append(a)\n    twin = self.clone()\n    twin.tags.append(a)\n    return twin.stranger()",
        "q = []\n    self.tags = q\n    for n in range(40):\n        q.append('x' * 1000000)\n    return self.stranger()",
        "return self.stranger(['x' * 1000000 for n in range(40)])",
    ],
)
def test_what_a_message_leaves_behind_when_it_misses_is_looked_at(build_house: BuildHouse, body: Any) -> None:
    house = build_house(stranger=["    return 1"])
    shop = make_shop(house)
    house.send(shop, "nameAs_", "shop")
    house.bench.install("shop", "trap", f"def trap(self):\n    {body}\n")
    assert house.send(shop, "trap").type in ("BadValue", "QuotaExceeded")
    assert well(house, shop)


@pytest.mark.parametrize("options", [{"kwargs": {"self": 1}}, {"kwargs": {"class": 1}}, {"kwargs": {"é": 1}}, {"kwargs": {"": 1}}])
def test_arguments_that_no_method_could_name_are_refused(build_house: BuildHouse, options: Any) -> None:
    house = build_house(stranger=["    return 1"])
    assert house.send(make_shop(house), "stranger", **options).type == "BadArguments"
    assert not house.model.asked


@pytest.mark.parametrize("selector", ["class", "None", "lambda"])
def test_a_word_of_python_is_no_selector(build_house: BuildHouse, selector: str) -> None:
    house = build_house(**{"*": ["    return 1"]})
    assert house.send(make_shop(house), selector).type == "BadArguments"


def test_as_many_arguments_as_a_message_carries_are_too_many_for_a_method(build_house: BuildHouse) -> None:
    house = build_house(stranger=["    return 1"])
    assert house.send(make_shop(house), "stranger", *range(64)).type == "BadArguments"


def test_a_storm_of_misses_is_bounded_and_the_rest_is_told_to_come_again(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    house.model.ask = lambda *_: None  # never answers
    ended: list[ImageError | None] = []
    for number in range(MOST + 5):
        (request,) = house.missed(house.bench.delivery(shop, f"stranger_{number}"))
        house.writers.request(request, ended.append)
    assert len(house.writers) == MOST
    assert [type(error) for error in ended] == [GenerationBusy] * 5


def test_offers_that_come_at_once_wait_for_their_trials(build_house: BuildHouse) -> None:
    house = build_house()
    shop = make_shop(house)
    ended: list[ImageError | None] = []
    for number in range(24):
        request = CreateMethod(id=1, target=shop, selector=f"m{number}", source=f"def m{number}(self):\n    return {number}\n")
        delivery = Delivery(number + 1000, encode(request), "local", False, 0.0, 60.0)
        (missing,) = house.missed(delivery)
        house.writers.request(missing, ended.append)
    house.until(lambda: len(ended) == 24)
    assert ended == [None] * 24
    assert house.send(shop, "m23") == 23


def test_a_large_result_is_weighed_and_not_kept_with_every_draft(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return ['x' * 100000 for n in range(10)]"], drafts=3)
    shop = make_shop(house)
    assert len(house.send(shop, "worth")) == 10
    (message,) = [
        message
        for shard in house.image.shards("messages")
        for message in map(shard.own, shard.names())
        if message.own("selector") == "worth"
    ]
    assert message.own("drafts")[0]["trial"]["result"].endswith("bytes, too many to keep")


def test_huge_examples_are_compared_and_refused_as_any_other(build_house: BuildHouse) -> None:
    house = build_house(worth=["    return 1"])
    shop = make_shop(house)
    assert house.send(shop, "worth", examples=[Example("x" * 100_000)] * 32).type == "Refused"
    assert well(house, shop)
