"""The rules of the dispatch, one by one, without clock or sockets."""

import gc
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from deploy.settings import QuotaSettings
from uvm.bridge.dispatcher import GRACE_S, PARKED_DEATHS, VIA_S, WAITERS, Dispatch
from uvm.bridge.events import (
    Assign,
    DeliveriesParked,
    DeliveriesReturned,
    DispatchEvent,
    DropDelivery,
    Finished,
    ForwardAnswer,
    Instruction,
    KillUvm,
    MessageArrived,
    MessageCancelled,
    PrincipalsChanged,
    RefuseMessage,
    Tick,
    Undelivered,
    UsageReported,
    UvmAlive,
    UvmDied,
    UvmEnding,
    UvmLeft,
    UvmLost,
    UvmReady,
)
from uvm.bridge.quotas import RETRY_MS
from uvm.protocol import Busy, Error
from uvm.rights import Spent


class Bench:
    """A dispatch, a clock that the test moves, and what came out so far."""

    def __init__(self, **bounds: Any) -> None:
        self.dispatch = Dispatch(**{"queue": 100, "queue_bytes": 10_000, "window": 4, "dead_after_s": 10.0, **bounds})
        self.now = 0.0
        self.ids = 0
        # What its messages cost is known, so that they are given out without the caution that is due to strangers.
        self.dispatch._shares.source("local", b"", QuotaSettings(), 0.0).costs.learn(0.0001, 0.0)

    def do(self, event: DispatchEvent) -> list[Instruction]:
        return self.dispatch.handle(event, self.now)

    def later(self, seconds: float) -> list[Instruction]:
        """Time goes by, and the bridge looks at the clock twice a second."""
        out: list[Instruction] = []
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.5)
            out += self.do(Tick())
        return out

    def arrive(self, session: str = "", seq: int = 0, **fields: Any) -> list[Instruction]:
        self.ids += 1
        given = {"payload": b"p", "digest": b"same" if session else b"", "deadline_s": 1000.0, "repeatable": bool(session), **fields}
        return self.do(MessageArrived(address="tool", id=self.ids, principal="local", session=session, seq=seq, **given))

    def ready(self, *names: str) -> list[Instruction]:
        return [i for name in names for i in self.do(UvmReady(name, f"{name} at {self.now}"))]


def deliveries(instructions: Iterable[Instruction], uvm: str | None = None) -> list[int]:
    return [i.delivery for i in instructions if isinstance(i, Assign) and uvm in (None, i.uvm)]


def refusals(instructions: Iterable[Instruction]) -> list[tuple[int, str]]:
    return [(i.answer.id, i.answer.type) for i in instructions if isinstance(i, RefuseMessage) and isinstance(i.answer, Error)]


def test_messages_without_a_session_go_to_the_least_busy_uvm() -> None:
    bench = Bench()
    bench.ready("a", "b")
    given = [bench.arrive()[0] for _ in range(4)]
    assert [i.uvm for i in given if isinstance(i, Assign)] == ["a", "b", "a", "b"]


def test_a_session_stays_on_its_uvm_while_any_of_it_is_there_and_is_free_afterwards() -> None:
    bench = Bench()
    bench.ready("a", "b")
    first = deliveries(bench.arrive("s", 1), "a")
    assert deliveries(bench.arrive("s", 2), "a"), "b is less busy, but the order counts"
    bench.arrive()
    for delivery in [*first, first[0] + 1]:
        bench.do(Finished("a", delivery, b""))
    bench.do(UvmEnding("a"))
    assert deliveries(bench.arrive("s", 3), "b")


def test_a_uvm_has_at_most_a_window_of_running_messages_and_parked_ones_make_room() -> None:
    bench = Bench()
    bench.ready("a")
    given = [delivery for _ in range(6) for delivery in deliveries(bench.arrive())]
    assert len(given) == 4
    assert len(deliveries(bench.do(Finished("a", given[0], b"")))) == 1
    assert len(deliveries(bench.do(DeliveriesParked("a", [given[1]], parked=True)))) == 1


def test_lanes_take_turns_when_there_is_a_queue() -> None:
    bench = Bench(window=1)
    for seq in (1, 2, 3):
        bench.arrive("greedy", seq)
    bench.arrive("modest", 1)
    order = deliveries(bench.ready("a"))
    for _ in range(3):
        order += deliveries(bench.do(Finished("a", order[-1], b"")))
    assert order == [1, 4, 2, 3]


def test_past_the_queue_or_its_bytes_a_tool_is_told_to_come_back() -> None:
    bench = Bench(queue=2, queue_bytes=100)
    bench.arrive()
    assert bench.arrive(payload=b"x" * 100) == [RefuseMessage("tool", Busy(2, RETRY_MS))]
    bench.arrive()
    assert bench.arrive() == [RefuseMessage("tool", Busy(4, RETRY_MS))]
    assert bench.dispatch.held() == 2


def test_an_answer_goes_to_every_arrival_under_its_own_id() -> None:
    bench = Bench()
    bench.ready("a")
    (delivery,) = deliveries(bench.arrive("s", 1))
    assert bench.arrive("s", 1) == [], "attached, not run again"
    answers = bench.do(Finished("a", delivery, b"done"))
    assert [(i.id, i.payload) for i in answers if isinstance(i, ForwardAnswer)] == [(1, b"done"), (2, b"done")]
    assert bench.do(Finished("a", delivery, b"again")) == [], "a message is answered once"


def test_a_resent_message_with_the_same_id_is_answered_once() -> None:
    bench = Bench()
    bench.ready("a")
    arrival = MessageArrived(
        address="tool", id=7, payload=b"p", principal="local", session="s", seq=1, digest=b"d", deadline_s=9, repeatable=True
    )
    (delivery,) = deliveries(bench.do(arrival))
    bench.do(arrival)
    assert len(bench.do(Finished("a", delivery, b"done"))) == 1


def test_endless_resending_under_new_ids_keeps_the_newest_only() -> None:
    bench = Bench()
    bench.ready("a")
    (delivery,) = deliveries(bench.arrive("s", 1))
    for _ in range(100):
        bench.arrive("s", 1)
    answered = [i.id for i in bench.do(Finished("a", delivery, b"")) if isinstance(i, ForwardAnswer)]
    assert answered == list(range(102 - WAITERS, 102))


def test_a_number_in_use_for_another_message_is_refused_and_the_first_goes_on() -> None:
    bench = Bench()
    bench.ready("a")
    (delivery,) = deliveries(bench.arrive("s", 1))
    assert refusals(bench.arrive("s", 1, digest=b"other")) == [(2, "PayloadMismatch")]
    assert len(bench.do(Finished("a", delivery, b""))) == 1


def test_suspects_are_sent_again_one_by_one_to_a_uvm_that_has_nothing_else() -> None:
    bench = Bench()
    bench.ready("a", "b")
    on_a = [delivery for _ in range(3) for delivery in deliveries(bench.arrive("s", bench.ids + 1))]
    ordinary = deliveries(bench.arrive("t", 1), "b")
    assert deliveries(bench.do(UvmDied("a"))) == [], "b has something else"
    assert deliveries(bench.arrive("u", 1)) == [], "and gets nothing new"
    seen: list[int] = []
    out = bench.do(Finished("b", ordinary[0], b""))
    while len(seen) < 3:
        (assign,) = [i for i in out if isinstance(i, Assign)]
        assert assign.alone
        seen.append(assign.delivery)
        out = bench.do(Finished("b", assign.delivery, b""))
    assert seen == on_a
    assert [i.alone for i in out if isinstance(i, Assign)] == [False], "then the others"


def test_while_suspects_are_examined_the_other_uvms_serve() -> None:
    bench = Bench()
    bench.ready("a", "b", "c")
    bench.arrive("s", 1)
    bench.do(UvmDied("a"))
    assert [len(deliveries(bench.arrive(), "c")) for _ in range(3)] == [1, 1, 1]


def test_a_message_that_two_uvms_died_on_is_poisoned_and_stays_so() -> None:
    bench = Bench()
    bench.ready("a", "b")
    bench.arrive("s", 1)
    bench.do(UvmDied("a"))
    assert refusals(bench.do(UvmDied("b"))) == [(1, "Poisoned")]
    bench.ready("c")
    assert refusals(bench.arrive("s", 1)) == [(2, "Poisoned")]
    assert refusals(bench.arrive("s", 1, digest=b"other")) == [(3, "PayloadMismatch")]
    assert deliveries(bench.arrive("s", 2), "c"), "the session goes on"


def test_the_order_of_a_session_survives_the_death_of_its_uvm() -> None:
    bench = Bench(window=2)
    bench.ready("a")
    for seq in range(1, 5):
        bench.arrive("s", seq)
    bench.do(UvmDied("a"))
    order = deliveries(bench.ready("b"))
    while len(order) < 4:
        order += deliveries(bench.do(Finished("b", order[-1], b"")))
    assert order == [1, 2, 3, 4]


def test_a_clean_leave_makes_nobody_suspect() -> None:
    bench = Bench()
    bench.ready("a")
    bench.arrive("s", 1)
    bench.arrive()
    assert bench.do(UvmLeft("a")) == [UvmLost("a", "left", 0, clean=True)]
    assert [i.alone for i in bench.ready("b") if isinstance(i, Assign)] == [False, False]


def test_without_a_session_a_message_that_may_have_run_is_not_run_again() -> None:
    bench = Bench()
    bench.ready("a", "b")
    bench.arrive()
    assert refusals(bench.do(UvmDied("a"))) == [(1, "OutcomeUnknown")]
    assert bench.dispatch.held() == 0


def test_parked_messages_are_innocent_of_their_uvms_death_for_a_long_time_but_not_for_ever() -> None:
    bench = Bench()
    bench.ready("a")
    (delivery,) = deliveries(bench.arrive("s", 1))
    for _ in range(PARKED_DEATHS):
        bench.do(DeliveriesParked("a", [delivery], parked=True))
        bench.do(UvmDied("a"))
        (assign,) = [i for i in bench.ready("a") if isinstance(i, Assign)]
        assert not assign.alone
    for expected in ([], [(1, "Poisoned")]):
        bench.do(DeliveriesParked("a", [delivery], parked=True))
        assert refusals(bench.do(UvmDied("a"))) == expected
        bench.ready("a")


def test_a_resumed_message_is_suspect_again() -> None:
    bench = Bench()
    bench.ready("a", "b")
    (delivery,) = deliveries(bench.arrive("s", 1))
    bench.do(DeliveriesParked("a", [delivery], parked=True))
    bench.do(DeliveriesParked("a", [delivery], parked=False))
    assert [i.alone for i in bench.do(UvmDied("a")) if isinstance(i, Assign)] == [True]


def test_nothing_joins_a_suspect_that_was_parked_and_runs_again() -> None:
    bench = Bench()
    bench.ready("a", "b")
    (delivery,) = deliveries(bench.arrive("s", 1))
    bench.do(UvmDied("a"))
    bench.do(DeliveriesParked("b", [delivery], parked=True))
    assert deliveries(bench.arrive("t", 1), "b"), "while it is parked there is room"
    bench.do(DeliveriesParked("b", [delivery], parked=False))
    assert deliveries(bench.arrive("u", 1)) == []


def test_a_silent_uvm_is_dead_and_signs_of_life_prevent_it() -> None:
    bench = Bench()
    bench.ready("a")
    bench.arrive("s", 1)
    bench.later(9)
    bench.do(UvmAlive("a"))
    assert bench.later(9) == []
    kill, lost = bench.later(2)
    assert kill == KillUvm("a"), "a process that was stopped must not come back"
    assert isinstance(lost, UvmLost) and lost.suspects == 1 and not lost.clean
    assert not bench.dispatch.knows("a")


def test_a_new_incarnation_means_that_the_old_one_died() -> None:
    bench = Bench()
    bench.ready("a")
    bench.arrive("s", 1)
    bench.now = 1.0
    lost, assign = bench.ready("a")
    assert isinstance(lost, UvmLost) and lost.suspects == 1
    assert isinstance(assign, Assign) and assign.alone


def test_a_uvm_that_says_ready_again_has_forgotten_its_jobs_and_nobody_is_suspect() -> None:
    bench = Bench()
    bench.ready("a")
    bench.arrive("s", 1)
    lost, assign = bench.ready("a")
    assert isinstance(lost, UvmLost) and lost.suspects == 0
    assert isinstance(assign, Assign) and not assign.alone


def test_what_could_not_be_delivered_goes_elsewhere_unsuspected() -> None:
    bench = Bench()
    bench.ready("a", "b")
    (delivery,) = deliveries(bench.arrive())
    assert bench.do(Undelivered("a", delivery)) == [Assign("b", delivery, b"p", "local", False, 0.0)]
    assert deliveries(bench.arrive(), "a") == []


def test_via_waits_for_its_uvm_and_then_gives_up() -> None:
    bench = Bench()
    bench.ready("a")
    assert bench.arrive(via="b") == []
    assert deliveries(bench.ready("b"), "b") == [1]
    bench.arrive(via="c")
    assert refusals(bench.later(VIA_S)) == [(2, "NoSuchUvm")]


def test_via_gives_up_too_when_its_uvm_dies_under_the_message() -> None:
    bench = Bench()
    bench.ready("a", "b")
    bench.arrive("s", 1, via="a")
    assert deliveries(bench.do(UvmDied("a"))) == []
    assert refusals(bench.later(VIA_S)) == [(1, "NoSuchUvm")]


def test_a_deadline_ends_a_waiting_message_at_once() -> None:
    bench = Bench()
    bench.arrive(deadline_s=3)
    assert bench.later(2.9) == []
    (refuse,) = bench.later(0.2)
    assert isinstance(refuse, RefuseMessage) and isinstance(refuse.answer, Error)
    assert (refuse.answer.type, refuse.answer.details) == ("DeadlineExceeded", {"outcome": "not run"})
    assert bench.dispatch.held() == 0


def test_a_deadline_drops_a_running_message_and_its_uvm_has_a_moment_to_answer() -> None:
    bench = Bench()
    bench.ready("a")
    (delivery,) = deliveries(bench.arrive("s", 1, deadline_s=3))
    assert bench.later(3.1) == [DropDelivery("a", delivery)]
    assert len([i for i in bench.do(Finished("a", delivery, b"")) if isinstance(i, ForwardAnswer)]) == 1
    (delivery,) = deliveries(bench.arrive("s", 2, deadline_s=3))
    bench.later(3.1)
    (refuse,) = bench.later(GRACE_S)
    assert isinstance(refuse, RefuseMessage) and isinstance(refuse.answer, Error) and refuse.answer.details == {"outcome": "unknown"}
    assert bench.do(Finished("a", delivery, b"")) == []
    assert bench.dispatch.held() == 0


def test_a_message_that_one_of_two_arrivals_still_waits_for_is_not_dropped() -> None:
    bench = Bench()
    bench.ready("a")
    (delivery,) = deliveries(bench.arrive("s", 1, deadline_s=3))
    bench.arrive("s", 1, deadline_s=30)
    assert bench.later(3.1) == []
    assert refusals(bench.later(GRACE_S)) == [(1, "DeadlineExceeded")]
    assert [i.id for i in bench.do(Finished("a", delivery, b"")) if isinstance(i, ForwardAnswer)] == [2]


def test_a_bridge_that_ends_turns_away_what_was_not_run_and_keeps_what_may_have_been() -> None:
    bench = Bench(window=1)
    bench.ready("a")
    bench.arrive("s", 1)
    bench.arrive()
    assert bench.dispatch.turn_away() == [RefuseMessage("tool", Busy(2, RETRY_MS))]
    assert bench.dispatch.assigned() == 1


def test_timers_of_answered_messages_do_not_pile_up() -> None:
    bench = Bench()
    bench.ready("a")
    for _ in range(10_000):
        (delivery,) = deliveries(bench.arrive())
        bench.do(Finished("a", delivery, b""))
    bench.later(0.1)
    assert len(bench.dispatch._timers._heap) < 5_000


def answered(bench: Bench, payload: bytes) -> None:
    (one,) = deliveries(bench.arrive(payload=payload))
    (two,) = deliveries(bench.arrive("s", 1, payload=payload))
    bench.arrive("s", 1, payload=payload)
    bench.arrive("s", 2, payload=payload)
    bench.do(DeliveriesParked("a", [one], parked=True))
    bench.do(DeliveriesReturned("a", [two]))
    for delivery in (one, *(two, two + 1)):
        bench.do(Finished("a", delivery, b""))


def given_up(bench: Bench, payload: bytes) -> None:
    bench.do(UvmEnding("a"))
    for seq in (1, 2, 3):
        bench.arrive("s", seq, payload=payload, deadline_s=5.0)
    bench.do(MessageCancelled("tool", 9, ("local", "s", 2)))
    bench.arrive(payload=payload, via="nobody")
    bench.later(VIA_S + 5.0)
    bench.arrive(payload=payload)
    bench.do(PrincipalsChanged(frozenset()))
    bench.arrive(payload=payload)
    bench.dispatch.turn_away()


def suspected(bench: Bench, payload: bytes) -> None:
    bench.arrive(payload=payload)
    bench.arrive("s", 1, payload=payload)
    bench.arrive("s", 2, payload=payload)
    for name in ("a", "b", "c"):
        bench.ready(name)
        bench.do(UvmDied(name))
    bench.ready("d")
    bench.later(1001.0)


@pytest.mark.parametrize("story", [answered, given_up, suspected])
def test_what_is_answered_is_gone_without_the_garbage_collector(story: Any) -> None:
    bench = Bench(dead_after_s=1e9)
    bench.ready("a")
    payload = bytes(100)
    before = sys.getrefcount(payload)
    gc.disable()
    try:
        story(bench, payload)
    finally:
        gc.enable()
    assert bench.dispatch.held() == 0
    assert sys.getrefcount(payload) == before


def test_what_is_used_for_a_principal_besides_its_messages_counts_against_its_quota_alone() -> None:
    bench = Bench()
    bench.ready("a")
    quota = QuotaSettings(cpu_s_per_minute=6.0)

    def arrived(principal: str) -> Instruction:
        bench.ids += 1
        fields: dict[str, Any] = {"principal": principal, "connection": principal.encode(), "quota": quota}
        return bench.do(MessageArrived(address="tool", id=bench.ids, payload=b"p", deadline_s=9.0, repeatable=True, **fields))[-1]

    for principal in ("alice", "bob"):
        assigned = arrived(principal)
        assert isinstance(assigned, Assign)
        bench.do(Finished("a", assigned.delivery, b"", Spent(cpu_s=0.01)))
    bench.do(UsageReported("a", "alice", Spent(cpu_s=7.0)))
    refused = arrived("alice")
    assert isinstance(refused, RefuseMessage) and isinstance(refused.answer, Busy) and refused.answer.retry_after_ms > RETRY_MS
    let_in = arrived("bob")
    assert isinstance(let_in, Assign)
    bench.do(Finished("a", let_in.delivery, b"", Spent(cpu_s=0.01)))
    assert bench.dispatch.statistics(bench.now)["principals"]["alice"]["used"]["cpu_s"] == 7.01
    bench.do(UsageReported("a", "nobody-any-more", Spent(cpu_s=7.0)))
    for _ in range(4):
        bench.later(4.0)
        bench.do(UvmAlive("a"))
    assert isinstance(arrived("alice"), Assign)
