"""Whether the image wishes by itself: only where its policy says so, for what is newer, and for nothing that was taken back."""

from typing import Any

import pytest

from deploy.upgrader.wheel_directory import NewerVersion
from uvm.wishes import policy
from uvm.wishes.criterion import WishDecision, decide

NOW = 1_000_000
NEWER = {"structlog": NewerVersion("25.1", "26.2"), "pyzmq": NewerVersion("27.0", "27.3")}


def decided(rule: dict[str, Any], **told: Any) -> WishDecision:
    made, fault = policy.read({"enabled": True, **rule})
    plain = {"spoilt": (), "own": (), "now": NOW, "fault": fault, **told}
    return decide(NEWER, made, plain.pop("spoilt"), plain.pop("own"), **plain)


def test_what_is_newer_is_wished_for_one_after_the_other_with_its_reason() -> None:
    decision = decided({})
    assert str(decision.wanted) == "pyzmq==27.3" and decision.reason == "27.3 is in the directory of wheels, and 27.0 installed"


@pytest.mark.parametrize(
    ("rule", "told", "wanted"),
    [
        ({"enabled": False}, {}, None),
        ({"never": ["PyZMQ"]}, {}, "structlog==26.2"),
        ({"only": ["Structlog"]}, {}, "structlog==26.2"),
        ({}, {"spoilt": {"pyzmq==27.3"}}, "structlog==26.2"),
        ({}, {"spoilt": {"pyzmq==27.2"}}, "pyzmq==27.3"),
        ({}, {"spoilt": {"pyzmq==27.3", "structlog==26.2"}}, None),
        ({"a_day": 1}, {"own": [NOW - 80_000]}, None),
        ({"a_day": 1}, {"own": [NOW - 90_000]}, "pyzmq==27.3"),
        ({}, {"own": [NOW - 100]}, None),
        ({"rest_s": 50}, {"own": [NOW - 100]}, "pyzmq==27.3"),
        ({}, {"engaged": "a wish is under way"}, None),
        ({"a_day": -1}, {}, None),
        ({"unknown": 1}, {}, None),
    ],
)
def test_the_policy_and_what_became_of_others_decide(rule: dict[str, Any], told: dict[str, Any], wanted: str | None) -> None:
    decision = decided(rule, **told)
    assert (str(decision.wanted) if decision.wanted else None) == wanted
    assert decision.reason
