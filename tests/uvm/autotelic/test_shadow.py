"""The shadow: a candidate that has passed the exam drafts beside the adapter in service before it takes its place."""

import time
from typing import Any

import pytest

from tests.uvm.autotelic.test_loop import NEW, OLD, Stage
from tests.uvm.autotelic.test_loop import stage as stage
from uvm.autotelic import ledger, shadow
from uvm.autotelic.policy import AutotelicPolicy
from uvm.autotelic.shadow import Beside, Current, ShadowedMessage
from uvm.image import model_registry

RULE = AutotelicPolicy(shadow=10, shadow_s=60, agreement=0.7, erring=0.1)


def _seen(current: Current, **counts: int) -> list[ShadowedMessage]:
    kinds: tuple[Beside, ...] = ("same", "other", "declined", "erred")
    return [ShadowedMessage("@1", "worth", current, kind) for kind in kinds for _ in range(counts.get(kind, 0))]


@pytest.mark.parametrize(
    ("seen", "over", "state", "why"),
    [
        (_seen("installed", same=7, other=3), False, "passed", "the same in 7 of 10"),
        (_seen("installed", same=6, other=4), False, "refused", "70% at least"),
        (_seen("installed", same=6, declined=4), False, "refused", "70% at least"),
        (_seen("installed", same=8, erred=2), False, "refused", "10% at most it may fail"),
        (_seen("refused", other=10), False, "passed", "0 of 0 that were installed"),
        (_seen("refused", other=8, erred=2), False, "refused", "10% at most it may fail"),
        (_seen("installed", same=9), False, "drafting", "9 of 10 messages"),
        (_seen("installed", other=4), True, "passed", "only 4 of 10 messages came within 60 s"),
        (_seen("installed", other=5), True, "refused", "70% at least"),
        ([], True, "passed", "only 0 of 10"),
    ],
)
def test_how_it_stands_with_a_candidate(seen: list[ShadowedMessage], over: bool, state: str, why: str) -> None:
    standing = shadow.standing(seen, RULE, over=over)
    assert standing.state == state and why in standing.why


def test_where_the_policy_needs_a_shadow_too_few_messages_refuse() -> None:
    needed = AutotelicPolicy(shadow=10, shadow_needed=True)
    assert shadow.standing(_seen("installed", same=9), needed, over=True).state == "refused"
    assert shadow.standing(_seen("installed", same=10), needed, over=False).state == "passed"


def _in_shadow(stage: Stage, **policy: Any) -> None:
    """The candidate has passed its exam."""
    stage.policy(shadow=4, agreement=0.5, **policy)
    stage.stagnate()
    stage.stagnate()
    stage.reported()
    stage.stagnate()


def _enter(stage: Stage, *seen: ShadowedMessage) -> list[bool]:
    """UVMs write down what they have seen."""
    (order,) = stage.spool.orders()
    stage.image.manager.begin()
    entered = [ledger.enter_shadowed(stage.image, order.id, each, time.time()) for each in seen]
    stage.image.manager.commit()
    return entered


def _phase(stage: Stage) -> str:
    (entered,) = stage.seen("rounds")
    return str(entered.own("phase"))


def test_a_candidate_that_does_the_same_takes_the_place_after_its_shadow_and_not_before(stage: Stage) -> None:
    _in_shadow(stage)
    assert stage.serving == OLD and _phase(stage) == "shadow" and len(stage.brought) == 1
    assert stage.told("adapter")[0]["facts"]["done"] == "shadow"
    stage.stagnate()
    assert stage.serving == OLD and stage.last == "a candidate drafts beside the adapter in service"
    same = _seen("installed", same=5)
    assert _enter(stage, *same) == [True] * 4 + [False]  # there is room for so many as the policy says
    stage.reborn()
    stage.stagnate()
    assert stage.serving == NEW and _phase(stage) == "probation"
    (entered,) = stage.seen("rounds")
    assert "the same in 4 of 4" in entered.own("verdict")["reasons"][-1]


def test_a_candidate_that_fails_is_refused_and_taken_out_of_the_image_again(stage: Stage) -> None:
    _in_shadow(stage, shadow_s=0.0, shadow_needed=True)
    stage.stagnate()
    (ended,) = stage.seen("rounds")
    assert stage.serving == OLD and ended.own("verdict")["fate"] == "refused" and "shadow_needed" in ended.own("outcome")
    stage.image.manager.begin()
    assert model_registry.at(stage.image, "adapter", NEW) is None and model_registry.at(stage.image, "adapter", OLD) is not None
    stage.image.manager.abort()
    assert _enter(stage, *_seen("installed", same=1)) == [False]


def test_one_that_is_cancelled_or_overtaken_in_its_shadow_never_serves(stage: Stage) -> None:
    _in_shadow(stage)
    (order,) = stage.spool.orders()
    stage.bench.send("autotelic_obj", "setSlot_value_", "cancel", order.id)
    stage.stagnate()
    (ended,) = stage.seen("rounds")
    assert stage.serving == OLD and ended.own("outcome") == "cancelled"


def test_messages_that_are_no_part_of_a_shadow_are_not_written_down(stage: Stage) -> None:
    stage.image.manager.begin()
    assert ledger.shadowing(stage.image, time.time()) is None
    stage.image.manager.abort()
    _in_shadow(stage)
    stage.image.manager.begin()
    due = ledger.shadowing(stage.image, time.time())
    assert due is not None and (due.candidate, due.current) == (NEW, OLD)
    assert not ledger.enter_shadowed(stage.image, "f" * 16, _seen("installed", same=1)[0], time.time())
    assert ledger.shadowing(stage.image, time.time() + 1e6) is None
    stage.image.manager.abort()
    stage.bench.send("autotelic_obj", "setSlot_value_", "rounds", [7])
    stage.image.manager.begin()
    assert ledger.shadowing(stage.image, time.time()) is None
    stage.image.manager.abort()
