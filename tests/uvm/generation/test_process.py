"""The writing of methods, decided: transitions one by one, without image, model or trials."""

from typing import Any

import pytest

from tests.uvm.generation.played import BODY, OK, Played, needs, request_for, thinks, wrote
from uvm.errors import (
    Contention,
    Contradiction,
    ExampleFailed,
    GenerationBusy,
    GenerationOff,
    ImageError,
    ImageFull,
    KernelFault,
    NoSuchObject,
    Refused,
)
from uvm.generation.events import (
    Chosen,
    Claimed,
    ClaimLost,
    ConflictsLost,
    LibraryFound,
    NeedProbed,
    ObjectsChanged,
    PersonaUnknown,
    RuleFailed,
    StepFailed,
    StepStored,
    TimePassed,
    TrialBusy,
    TrialEnded,
    WritingDelta,
)
from uvm.generation.generation import AGAIN, LASTING, NEEDS, RETRIALS, TAKES, Awaited, InvalidTransition
from uvm.generation.instructions import (
    Advance,
    ApplyRule,
    AskThought,
    AskWriter,
    BackToTrial,
    BeginTrial,
    CancelQuestion,
    CancelTrial,
    DrawCommission,
    Install,
    KeepClauses,
    Learn,
    LookUpLibrary,
    NoteWait,
    RenewLease,
    TakeClaim,
)
from uvm.generation.process.requests import MOST
from uvm.generation.stages import Claim, Draft, authors_of, unique
from uvm.protocol import Example, Reference
from uvm.trial.protocol import Effect, TrialError, TrialOutcome, VariedRun
from uvm.values.examples import Clause

METHOD = bytes(7) + b"\x09"
FAILED = TrialOutcome(kind="failed", error=TrialError("TypeError", "no"))


def begun(**changes: Any) -> Any:
    """A world in which a request for `worth` has gone as far as the model."""
    world = Played()
    world.request(request_for("worth", **changes))
    world.goes_well()
    return world


def trying(*bodies: Any, **changes: Any) -> Any:
    """A world in which its first draft is being tried."""
    world = begun(**changes)
    world.answered(*(bodies or (BODY,)))
    return world


def blamed(world: Played, kind: type[ImageError], failed: str) -> bool:
    """Whether the message was refused with its selector, the policy method that failed on it, and how that is mended."""
    error = world.answers[1]
    assert error is not None
    details = error.details["selector"], error.details["failed"]
    named = error.message.startswith(f"worth was not written: the image's own {failed} ")
    return type(error) is kind and named and (*details, error.remedy) == ("worth", failed, f"mend {failed}")


def test_a_request_becomes_a_method_and_its_waiter_is_answered() -> None:
    world = trying(BODY, "    return 2")
    world.tried(OK)
    world.tried(FAILED)
    assert world.answers == {1: None}
    assert world.stages_published() == ["reified", "reflected", "drafted", "audited", "tried", "installed"]
    (order,) = world.installed
    assert order.source == "def worth(self):\n    return self.cost\n" and order.author == "brick"
    assert len(world.process) == 0 and world.process.counters["installed"] == 1


def test_all_who_ask_for_the_same_wait_for_one_generation() -> None:
    world = trying()
    world.request(request_for("worth"))
    world.tried(OK)
    assert world.answers == {1: None, 2: None} and world.counts["TakeClaim", 1] == 1


def test_what_the_library_has_is_not_written_anew() -> None:
    world = Played()
    world.request(request_for("worth"))
    while not isinstance(world.pending[0], LookUpLibrary):
        world.end(world.pending[0], world.well(world.pending[0]))
    world.end(world.pending[0], LibraryFound(1, "def worth(self):\n    return 1\n", "ann"))
    world.goes_well()
    assert not world.questions
    world.tried(OK)
    assert world.installed[0].author == "ann"


def test_an_offer_is_audited_and_tried_and_no_rule_is_asked() -> None:
    world = Played(may_write=False)
    world.request(request_for("worth", offered="def worth(self):\n    return 1\n", author="tool"))
    world.goes_well()
    world.tried(OK)
    assert world.answers == {1: None} and not world.counts["ApplyRule", 1]


def test_where_nothing_may_be_written_a_request_ends_at_once() -> None:
    world = Played(may_write=False)
    world.request(request_for("worth"))
    assert isinstance(world.answers[1], GenerationOff) and not world.pending


def test_there_are_so_many_generations_and_the_next_one_is_told_to_come_again() -> None:
    world = Played()
    for number in range(MOST):
        world.request(request_for(f"m{number}"))
    last = world.request(request_for("another"))
    assert isinstance(world.answers[last], GenerationBusy) and len(world.answers) == 1


@pytest.mark.parametrize("state", ["installed", "refused"])
def test_what_others_have_ended_meanwhile_is_the_answer(state: Any) -> None:
    world = Played()
    world.request(request_for("worth"))
    refusal = {"type": "Refused", "message": "no", "remedy": "", "details": {}}
    world.end(world.pending[0], Claimed(1, Claim(state, bytes(8), state, refusal=refusal)))
    assert (world.answers[1] is None) is (state == "installed")


def test_what_another_process_has_claimed_is_watched_and_taken_over_with_its_drafts() -> None:
    world = Played()
    world.request(request_for("worth"))
    theirs = Claimed(1, Claim("theirs", bytes(8), "drafted"))
    world.end(world.pending[0], theirs)
    assert not world.pending
    world.passes(1.0)
    world.end(world.pending[0], theirs)
    world.passes(1.0)
    (order,) = world.pending
    world.end(order, Claimed(1, Claim("mine", bytes(8), "drafted", [Draft(source="def worth(self):\n    return 1\n", persona="ann")])))
    world.goes_well()
    assert not world.questions, "what the dead one had the model write is not written again"
    world.tried(OK)
    assert world.answers == {1: None}


def test_when_all_drafts_fail_more_are_asked_for_once() -> None:
    world = trying("    return self.tags")
    world.tried(FAILED)
    for _ in range(AGAIN):
        (question,) = world.questions.values()
        assert '"tags"' not in question.generate.grammar.split("slot ::=")[1].split("\n")[0]
        world.answered("    return 3")
        world.tried(FAILED)
    assert isinstance(world.answers[1], Refused) and "TypeError" in world.answers[1].message
    assert world.stages_published()[-1] == "refused"


def test_a_model_that_does_not_answer_refuses_the_message() -> None:
    world = begun()
    world.fails()
    assert "EngineDied" in world.answers[1].message


def test_drafts_outside_the_language_are_not_tried() -> None:
    world = trying("    import os", BODY)
    assert "import" not in world.trials[1].source
    world.tried(OK)
    assert world.answers == {1: None}


@pytest.mark.parametrize("plan", [None, {"prompt": "x" * 70_000}, {"prompt": 5}])
def test_a_plan_that_is_none_refuses_the_message(plan: Any) -> None:
    world = begun(plan=plan)
    assert "made a plan that cannot be used" in world.answers[1].message and not world.questions
    assert blamed(world, Refused, "reflectOn_")


def test_a_plan_with_a_persona_that_is_not_there_refuses_the_message() -> None:
    world = Played()
    world.request(request_for("worth"))
    while not isinstance(world.pending[0], DrawCommission):
        world.end(world.pending[0], world.well(world.pending[0]))
    world.end(world.pending[0], PersonaUnknown(1, "there is no ann"))
    world.goes_well()
    assert "there is no ann" in str(world.answers[1]) and blamed(world, NoSuchObject, "reflectOn_")


@pytest.mark.parametrize("answer", [Chosen(1, answer) for answer in (True, "0", None, -1, 7, 0.0, [0])] + [RuleFailed(1, "undecided")])
def test_a_rule_chooses_a_draft_that_is_fit_or_none(answer: Any) -> None:
    world = trying()
    world.pending.clear()
    world.trials.clear()
    world.happens(TrialEnded(1, OK))
    world.end(world.pending[0], answer)
    world.goes_well()
    assert blamed(world, Refused, "chooseFrom_") and not world.installed


# --- trials ------------------------------------------------------------------------------------------------------------


def test_no_two_drafts_for_one_receiver_are_tried_at_once() -> None:
    world = trying()
    world.request(request_for("other"))
    world.goes_well()
    world.answered(BODY)
    world.passes(1.0)
    assert list(world.trials) == [1], "the other one waits"
    world.tried(OK)
    world.passes(1.0)
    assert list(world.trials) == [2]


def test_a_trial_for_which_there_is_no_room_begins_later() -> None:
    world = trying()
    del world.trials[1]
    world.happens(TrialBusy(1))
    assert not world.trials
    world.passes(0.1)
    world.tried(OK)
    assert world.answers == {1: None}


def test_what_a_draft_asks_the_model_is_answered_and_it_is_tried_again() -> None:
    world = trying()
    world.tried(thinks("1:why"))
    (order,) = world.questions.values()
    assert isinstance(order, AskThought)
    world.answered("because")
    assert world.trials[1].thoughts == {"1:why": "because"}


def test_a_draft_that_asks_without_end_fails() -> None:
    world = trying()
    for _ in range(RETRIALS):
        world.tried(thinks())
        world.answered("because")
    world.tried(thinks())
    assert not any(isinstance(order, AskThought) for order in world.questions.values())


SENDS = "    return self.price()"
PLAN_OF_TWO = {"prompt": "x", "personas": ["brick"], "drafts": 2}


def test_a_method_that_a_draft_needs_is_a_request_of_its_own_where_no_other_draft_will_do() -> None:
    world = trying(SENDS)
    world.tried(needs("price"))
    assert not world.counts["ProbeNeed", 1] and list(world.trials) == [1], "it is tried again, and its need granted"
    world.tried(needs("price"))
    assert world.process.statistics()["needing"] == 1
    world.answered(BODY)
    assert list(world.trials) == [2] and world.trials[2].request.depth == 1
    world.tried(OK)
    assert list(world.trials) == [1], "then it is tried again"
    world.tried(OK)
    assert world.answers == {1: None}


def test_where_another_draft_will_do_nothing_is_written_for_the_one_that_needs_a_method() -> None:
    world = trying(SENDS, "    return 2")
    world.tried(needs("price"))
    world.tried(OK)
    assert world.answers == {1: None} and "return 2" in world.installed[0].source and not world.counts["ProbeNeed", 1]
    assert [draft["outcome"] for draft in world.installed[0].proof["drafts"]] == ["needs", "ok"]


def test_what_a_draft_needs_is_written_after_the_rule_has_taken_none_of_the_others() -> None:
    world = Played(most=2, risk=0.05)
    world.request(request_for("worth", plan=PLAN_OF_TWO))
    world.goes_well()
    world.answered(SENDS, "    return 2")
    world.tried(needs("price"))
    del world.trials[1]
    world.happens(TrialEnded(1, OK))
    rules(world, None, 0.4)
    assert list(world.trials) == [1] and world.counts["ProbeNeed", 1] == 0
    world.tried(needs("price"))
    assert world.counts["ProbeNeed", 1] == 1
    world.answered(BODY)
    del world.trials[2]
    world.happens(TrialEnded(2, OK))
    (rule,) = [order for order in world.pending if isinstance(order, ApplyRule)]
    world.end(rule, Chosen(2, {"index": 0, "best": 0, "confidence": 0.99}))
    world.goes_well()
    del world.trials[1]
    world.happens(TrialEnded(1, OK))
    (rule,) = [order for order in world.pending if isinstance(order, ApplyRule)]
    assert [candidate["source"].split("return ")[1] for candidate in rule.candidates] == ["self.price()\n", "2\n"]
    world.end(rule, Chosen(1, {"index": 0, "best": 0, "confidence": 0.99}))
    world.goes_well()
    assert world.answers == {1: None}


def test_drafts_that_wait_for_the_same_method_are_tried_once_it_is_there_and_no_more_is_written_than_is_used() -> None:
    world = trying(SENDS, "    return self.price() + 1", "    return self.other()", plan={"prompt": "x", "drafts": 3})
    for selector in ("price", "price", "other"):
        world.tried(needs(selector))
    world.tried(needs("price"))
    world.answered(BODY)
    world.tried(OK, 2)
    world.tried(OK)
    world.tried(OK)
    assert world.answers == {1: None} and world.counts["ProbeNeed", 1] == 1
    assert [draft["outcome"] for draft in world.installed[-1].proof["drafts"]] == ["ok", "ok", "needs"]


def test_a_slot_that_a_draft_reads_and_that_is_not_there_is_no_need() -> None:
    world = trying("    return self.price", "    return self.price + 1")
    world.tried(needs("price"))
    assert "reads price, which is no slot there" in world.published[-1].detail["why"]
    assert not world.counts["ProbeNeed", 1] and world.trials[1].source.endswith("+ 1\n")


def test_most_drafts_decline_and_nothing_is_written_for_the_one_that_needs_a_method() -> None:
    world = trying(SENDS, "    return decline('no')", "    return decline('none')", plan={"prompt": "x", "drafts": 3})
    world.tried(needs("price"))
    for _ in range(2):
        world.tried(TrialOutcome(kind="failed", error=TrialError("Declined", "no")))
    assert type(world.answers[1]) is Refused and not world.counts["ProbeNeed", 1]


@pytest.mark.parametrize(("elsewhere", "risk"), [(False, 0.5), (True, 0.05)])
def test_a_need_is_written_under_the_images_risk_elsewhere_and_may_change_nothing_there(elsewhere: bool, risk: float) -> None:
    world = Played(risk=0.05)
    world.request(request_for("worth", risk=0.5))
    world.goes_well()
    world.answered(SENDS)
    world.tried(needs("price"))
    del world.trials[1]
    world.happens(TrialEnded(1, needs("price")))
    (order,) = world.pending
    world.end(order, NeedProbed(1, request_for("price", receiver=2 if elsewhere else 1, plan={"prompt": "x", "drafts": 3})))
    world.goes_well()
    world.answered(BODY, "    self.cost = 1", "    return 3")
    assert world.trials[2].request.risk == risk and world.trials[2].request.still is elsewhere
    world.tried(OK, 2)
    world.tried(TrialOutcome(kind="ok", effects=[Effect(Reference(bytes(7) + b"\2"), "cost", 0, 1)]), 2)
    world.tried(TrialOutcome(kind="ok", varied=[VariedRun(digest="x", changed={"tags": []})]), 2)
    stored = [draft["outcome"] for draft in world.installed[0].proof["drafts"]]
    assert stored == (["ok", "Meddling", "Meddling"] if elsewhere else ["ok", "ok", "ok"])


def test_what_somebody_sends_meanwhile_may_change_its_receiver() -> None:
    world = trying(SENDS)
    world.tried(needs("price"))
    del world.trials[1]
    world.happens(TrialEnded(1, needs("price")))
    (order,) = world.pending
    world.end(order, NeedProbed(1, request_for("price", receiver=2)))
    world.goes_well()
    world.request(request_for("price", receiver=2))
    world.answered("    self.cost = 1")
    world.tried(TrialOutcome(kind="ok", effects=[Effect(Reference(bytes(7) + b"\2"), "cost", 0, 1)]), 2)
    world.tried(OK)
    assert world.answers == {1: None, 2: None}


def test_a_need_that_is_refused_fails_the_draft() -> None:
    world = trying(SENDS)
    world.tried(needs("price"))
    world.tried(needs("price"))
    world.fails()
    assert "needs price: nothing was written" in world.published[-1].detail["why"] or not world.trials
    assert any("needs price: nothing was written" in str(event.detail.get("why", "")) for event in world.published)


def test_needs_of_one_message_and_the_chain_of_messages_are_bounded() -> None:
    bodies = [f"    return self.n{number}()" for number in range(NEEDS + 1)]
    world = trying(*bodies, plan={"prompt": "x", "drafts": NEEDS + 1})
    for number in range(NEEDS + 1):
        world.tried(needs(f"n{number}"), 1)
    for number in range(NEEDS):
        world.tried(needs(f"n{number}"), 1)
        world.fails()
    world.tried(needs(f"n{NEEDS}"), 1)
    assert any("other methods that drafts" in event.detail.get("why", "") for event in world.published)
    assert world.counts["ProbeNeed", 1] == NEEDS
    deep = trying(SENDS, depth=3)
    deep.tried(needs("price"))
    deep.tried(needs("price"))
    assert not deep.counts["ProbeNeed", 1]


def test_where_the_need_would_wait_for_its_own_message_the_draft_fails() -> None:
    world = trying(SENDS)
    world.tried(needs("price"))
    world.trials.clear()
    world.happens(TrialEnded(1, needs("price")))
    world.end(world.pending[0], NeedProbed(1, "price waits for worth itself"))
    assert not any(isinstance(order, NoteWait) for order in world.pending)


def test_a_draft_that_waited_when_its_process_died_is_tried_by_the_next_one() -> None:
    left = [Draft(source=f"def worth(self):\n{SENDS}\n", persona="brick", mode="base", outcome="needs", why="needs price")]
    world = Played()
    world.request(request_for("worth"))
    world.end(world.pending[0], Claimed(1, Claim("mine", bytes(8), "drafted", left)))
    world.goes_well()
    assert list(world.trials) == [1]


def test_what_was_tried_on_objects_that_changed_is_tried_again_and_not_without_end() -> None:
    world = trying()
    world.trials.clear()
    world.happens(TrialEnded(1, OK))
    for tried in range(RETRIALS + 1):
        while not isinstance(world.pending[0], Install):
            world.end(world.pending[0], world.well(world.pending[0]))
        world.end(world.pending[0], ObjectsChanged(1))
        if tried < RETRIALS:
            assert isinstance(world.pending[0], BackToTrial)
            world.end(world.pending[0], StepStored(1))
            world.trials.clear()
            world.happens(TrialEnded(1, OK))
    world.goes_well()
    assert "keep changing" in world.answers[1].message and not world.installed


# --- claims ------------------------------------------------------------------------------------------------------------


def test_a_claim_that_is_lost_ends_what_runs_and_the_waiters_wait_for_the_new_owner() -> None:
    world = trying()
    orders = world.happens(ClaimLost(1))
    assert [type(order) for order in orders] == [CancelTrial]
    world.happens(TrialEnded(1, OK))
    world.happens(StepStored(1))
    assert world.process.counters["stale"] == 2 and not world.answers
    world.passes(1.0)
    (order,) = world.pending
    assert isinstance(order, TakeClaim) and order.generation == 2
    world.end(order, Claimed(2, Claim("installed", bytes(8), "installed")))
    assert world.answers == {1: None}


def test_the_lease_is_renewed_while_something_lasts() -> None:
    world = begun()
    world.passes(6.0)
    assert world.counts["RenewLease", 1] == 1
    world.passes(1.0)
    assert world.counts["RenewLease", 1] == 1
    orders = world.happens(ClaimLost(1))
    assert [type(order) for order in orders] == [CancelQuestion]


def test_a_step_that_fails_refuses_the_message_with_the_reason_and_leaves_nothing_running() -> None:
    world = trying()
    orders = world.happens(StepFailed(1, KernelFault("a fault")))
    assert [type(order) for order in orders] == [CancelTrial, Advance]
    world.goes_well()
    assert world.answers[1].type == "KernelFault" and world.answers[1].details["message"]


def test_a_refusal_that_cannot_be_stored_is_answered_all_the_same() -> None:
    world = begun()
    world.happens(StepFailed(1, KernelFault("a fault")))
    world.end(world.pending[0], StepFailed(1, ImageFull("no room")))
    assert world.answers[1].type == "ImageFull" and not len(world.process)


def test_too_many_conflicts_leave_the_message_to_whoever_sends_it_next() -> None:
    world = begun()
    orders = world.happens(ConflictsLost(1, "again and again"))
    assert isinstance(orders[0], CancelQuestion) and isinstance(world.answers[1], Contention)


def test_who_wrote_what_was_accepted_or_refused_is_learned() -> None:
    world = trying()
    world.trials.clear()
    orders = world.happens(TrialEnded(1, OK))
    while world.pending:
        order = world.pending.pop(0)
        event = world.well(order)
        world.store(order, event)
        orders = world.happens(event)
    assert [order for order in orders if isinstance(order, Learn)] == [Learn(world.installed[0].oid, ["brick"], True)]


def test_of_personas_that_compete_those_did_who_wrote_what_does_the_same_as_what_is_installed() -> None:
    def draft(persona: str, body: str, group: str, **fate: Any) -> Draft:
        return Draft(
            source=f"def worth(self):\n    return {body}\n", persona=persona, mode="base", **{"outcome": "ok", "group": group} | fate
        )

    drafts = unique(
        [
            draft("ann", "1", "a"),
            *(draft(name, "self.cost * 2", "b") for name in ("bob", "eve", "bob")),
            draft("cy", "2 * self.cost", "b"),
            draft("dee", "0", "b", outcome="amnesia"),
            Draft(source="def worth(self):\n    return 9\n", persona="tool", outcome="ok", group="b"),
        ]
    )
    assert [(each.persona, each.times, each.also) for each in drafts[:2]] == [("ann", 1, []), ("bob", 3, ["eve"])]
    assert authors_of(drafts, 1) == (["bob", "eve", "cy"], ["ann", "dee"])
    assert authors_of(drafts, 0) == (["ann"], ["bob", "eve", "cy", "dee"])


def test_letting_go_cancels_what_runs() -> None:
    world = trying()
    world.request(request_for("other", receiver=2))
    world.goes_well()
    assert {type(order) for order in world.process.let_go()} == {CancelTrial, CancelQuestion}
    assert not len(world.process)


def test_what_is_being_written_is_published_now_and_then() -> None:
    world = begun()
    (order,) = world.questions.values()
    for piece in "abc":
        world.happens(WritingDelta(1, order.generate.id, 0, piece))
    world.now += 1.0
    world.happens(WritingDelta(1, order.generate.id, 0, "d"))
    texts = [event.detail["text"] for event in world.published if event.stage == "drafting"]
    assert texts == ["abcd"]


# --- what cannot happen --------------------------------------------------------------------------------------------------


def test_an_event_that_cannot_happen_is_raised_with_the_story() -> None:
    world = trying()
    with pytest.raises(InvalidTransition) as raised:
        world.happens(Chosen(1, 0))
    text = str(raised.value)
    assert "worth" in text and "is trying and takes no Chosen" in text
    assert "claiming → Claimed → storing → StepStored → searching → LibraryFound" in text and text.endswith("→ StepStored → trying")


def test_after_an_impossible_event_the_message_can_still_be_refused() -> None:
    world = trying()
    with pytest.raises(InvalidTransition):
        world.happens(StepStored(1))
    world.happens(StepFailed(1, KernelFault("impossible")))
    world.goes_well()
    assert world.answers[1].type == "KernelFault"


def test_every_step_says_what_it_takes() -> None:
    assert set(TAKES) == set(Awaited)
    assert all(ClaimLost in TAKES[step] for step in LASTING)


def test_time_alone_brings_nothing_about() -> None:
    world = Played()
    assert world.happens(TimePassed()) == []
    assert isinstance(begun().happens(TimePassed()), list) and not begun().counts["RenewLease", 1]


def test_a_renewal_is_asked_for_by_what_is_stored() -> None:
    world = trying()
    world.now = 100.0
    (order,) = world.happens(TimePassed())
    assert order == RenewLease(1, order.oid, "audited")
    assert isinstance(world.trials[1], BeginTrial)


def test_a_method_that_is_there_is_tried_by_itself_and_keeps_what_has_held() -> None:
    world = Played()
    waiter = world.request(request_for("test:1", tested=METHOD, keeps=True))
    assert [type(order) for order in world.pending] == [] and len(world.trials) == 1, "nothing is claimed, stored or asked"
    (trial,) = world.trials.values()
    assert trial.source == ""
    world.passes(60.0)
    del world.trials[1]
    world.happens(TrialEnded(1, TrialOutcome(kind="ok", examples=2, examples_passed=2, looked=[["cost"], None])))
    (keep,) = world.pending
    assert isinstance(keep, KeepClauses) and keep.looked == [["cost"], None]
    world.goes_well()
    assert world.answers == {waiter: None}
    assert [(entry.stage, entry.oid) for entry in world.published] == [("testing", METHOD), ("held", METHOD)]


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (TrialOutcome(kind="ok", examples=1, examples_missed=["example 1: () gave 1, not 2"]), "example 1: () gave 1, not 2"),
        (FAILED, "TypeError: no"),
        (TrialOutcome(kind="killed", killed_by="trial.wall_s, 10"), "trial.wall_s, 10"),
        (needs("other"), "needs other, which nobody understands"),
    ],
)
def test_a_method_that_does_not_hold_keeps_nothing_and_its_message_is_told(outcome: Any, why: str) -> None:
    world = Played(may_write=False)
    waiter = world.request(request_for("test:1", tested=METHOD, keeps=True))
    world.tried(outcome)
    error = world.answers[waiter]
    assert isinstance(error, ExampleFailed) and why in error.message
    assert world.published[-1].stage == "failed"
    assert not world.pending


def test_a_method_that_asks_the_model_is_tested_with_its_answer() -> None:
    world = Played()
    waiter = world.request(request_for("test:1", tested=METHOD))
    world.tried(thinks())
    world.answered("because")
    (trial,) = world.trials.values()
    assert trial.thoughts == {"1:why": "because"}
    world.tried(OK)
    assert world.answers == {waiter: None}


def test_what_others_expect_is_tried_as_well_until_the_trials_begin() -> None:
    first, second, third = (Clause(Example(cost, slots={"cost": cost})) for cost in (1, 2, 3))
    world = begun(clauses=[first])
    world.request(request_for("worth", clauses=[second]))
    wrong = world.request(request_for("worth", clauses=[Clause(Example(9, slots={"cost": 2}))]))
    assert isinstance(world.answers[wrong], Contradiction)
    world.answered(BODY)
    world.request(request_for("worth", clauses=[third]))
    (trial,) = world.trials.values()
    assert trial.request.clauses == [first, second]
    world.tried(TrialOutcome(kind="ok", examples=2, examples_passed=2, looked=[["cost"], ["cost"]]))
    (install,) = world.installed
    assert install.request.clauses == [first, second] and install.looked == [["cost"], ["cost"]]
    assert [error for error in world.answers.values() if error is None] == [None] * 3


def test_a_method_of_the_library_brings_its_examples_along_unless_they_contradict() -> None:
    mine, its = Clause(Example(1, slots={"cost": 1})), Clause(Example(2, slots={"cost": 2}), number=4)
    for clauses, tried in (([its], [mine, its]), ([Clause(Example(9, slots={"cost": 1}))], [mine])):
        world = Played()
        world.request(request_for("worth", clauses=[mine]))
        while not isinstance(world.pending[0], LookUpLibrary):
            world.end(world.pending[0], world.well(world.pending[0]))
        world.end(world.pending[0], LibraryFound(1, "def worth(self):\n    return self.cost\n", "brick", clauses))
        world.goes_well()
        if world.questions:
            world.answered(BODY)
        (trial,) = world.trials.values()
        assert trial.request.clauses == tried


def test_drafts_of_a_process_that_died_are_tried_on_what_this_message_expects() -> None:
    world = Played()
    world.request(request_for("worth", clauses=[Clause(Example(1))]))
    drafts = [Draft(source="def worth(self):\n    return 1\n", outcome="ok"), Draft(source="no", outcome="unfit")]
    world.end(world.pending[0], Claimed(1, Claim("mine", bytes(8), "drafted", drafts)))
    world.goes_well()
    assert [trial.source for trial in world.trials.values()] == ["def worth(self):\n    return 1\n"]


# --- how sure the image is ---------------------------------------------------------------------------------------------


def weighed(*bodies: Any, **settings: Any) -> Any:
    """A world that asks for two drafts at first and six at most, and whose first ones have been tried and do as `bodies` say."""
    world = Played(**{"most": 6, "risk": 0.05} | settings)
    world.request(request_for("worth", plan={"prompt": "x", "personas": ["brick"], "drafts": len(bodies)}))
    world.goes_well()
    return tried_all(world, *bodies)


def tried_all(world: Played, *bodies: Any) -> Any:
    """The model's answer, and the end of each trial: a draft answers what its body does."""
    order = next(iter(world.questions.values()))
    assert isinstance(order, AskWriter)
    del world.questions[order.generate.id]
    world.happens(wrote(order, *bodies))
    while world.trials or (world.pending and not isinstance(world.pending[0], ApplyRule)):
        if world.pending and not isinstance(world.pending[0], ApplyRule):
            world.end(world.pending[0], world.well(world.pending[0]))
        else:
            (trial,) = world.trials.values()
            world.trials.clear()
            world.happens(TrialEnded(trial.generation, does(trial.source)))
    return world


def does(source: str) -> Any:
    """What a draft does in its trial: it answers its last word, or declines."""
    word = source.split()[-1]
    if "decline" in word:
        return TrialOutcome(kind="failed", error=TrialError("Declined", "the object does not know"))
    return TrialOutcome(kind="ok", result=word)


def rules(world: Played, index: Any, confidence: Any, threshold: Any = 0.9) -> None:
    """The image's rule answers."""
    (order,) = world.pending
    assert isinstance(order, ApplyRule)
    best = order.candidates[0]["index"] if index is None else index
    world.end(order, Chosen(1, {"index": index, "best": best, "confidence": confidence, "threshold": threshold}))


def test_where_the_rule_takes_one_of_the_first_drafts_no_more_are_written() -> None:
    world = weighed("    return 1", "    return 1")
    rules(world, 0, 0.97)
    world.goes_well()
    assert world.answers == {1: None} and world.counts["AskWriter", 1] == 1
    (order,) = world.installed
    assert order.proof["confidence"] == 0.97 and order.proof["decision"]["risk"] == 0.05
    assert order.proof["drafts"][0]["times"] == 2 and order.proof["drafts"][0]["features"]["share"] == 1.0
    assert [event.detail["confidence"] for event in world.published if event.stage in ("tried", "installed")] == [0.97, 0.97]


def test_where_it_takes_none_of_them_the_others_write_up_to_the_bound_and_it_decides_on_all() -> None:
    world = weighed("    return 1", "    return 2")
    rules(world, None, 0.4)
    world.end(world.pending[0], world.well(world.pending[0]))
    (order,) = world.questions.values()
    assert len(order.generate.samplings) == 4 and not {sampling.seed for sampling in order.generate.samplings} & {None}
    tried_all(world, *["    return 1"] * 3, "    return 3")
    (order,) = world.pending
    assert [entry["agreement"] for entry in order.candidates] == [4, 1, 1]
    rules(world, 0, 0.95)
    world.goes_well()
    assert world.answers == {1: None} and world.installed[0].source.endswith("return 1\n")


def test_what_it_takes_none_of_in_the_end_is_refused_with_the_question_that_decides_it() -> None:
    world = weighed("    return 1", "    return 2", most=2)
    rules(world, None, 0.4)
    world.goes_well()
    error = world.answers[1]
    assert type(error) is Refused and not world.installed and error.details["confidence"] == 0.4
    assert "probability of 40%, and 90% are asked for. worth of this object: '1' or '2'?" in error.message and "--example N" in error.remedy
    assert [entry["example"]["result"] for entry in error.details["choices"]] == ["1", "2"]
    assert error.details["decision"]["threshold"] == 0.9 and len(error.details["decision"]["groups"]) == 2


def test_where_most_of_the_drafts_decline_no_more_are_asked_for() -> None:
    world = weighed("    return decline()", "    return decline()")
    world.goes_well()
    assert type(world.answers[1]) is Refused and world.counts["AskWriter", 1] == 1
    world = weighed("    return decline()", "    return decline()", "    return 1")
    rules(world, None, 0.1)
    world.goes_well()
    assert "2 of 3 drafts say that the object does not know" in world.answers[1].message and world.counts["AskWriter", 1] == 1


def test_at_any_risk_the_best_is_taken_and_more_are_written_only_where_the_first_do_not_agree() -> None:
    world = weighed("    return 1", "    return 1", risk=1.0)
    rules(world, 0, 0.2)
    world.goes_well()
    assert len(world.installed) == 1 and world.counts["AskWriter", 1] == 1
    world = weighed("    return 1", "    return 2", risk=1.0)
    rules(world, 0, 0.2)
    world.end(world.pending[0], world.well(world.pending[0]))
    assert world.questions and not world.installed


def test_drafts_that_do_not_agree_are_followed_by_more_however_sure_the_rule_is() -> None:
    world = weighed("    return 1", "    return 1", "    return 2")
    rules(world, 0, 0.99)
    world.end(world.pending[0], world.well(world.pending[0]))
    assert world.questions and not world.installed
    tried_all(world, *["    return 2"] * 3)
    assert [entry["agreement"] for entry in world.pending[0].candidates] == [2, 4]
    rules(world, None, 0.4)
    world.goes_well()
    assert type(world.answers[1]) is Refused and not world.counts["Learn", 0]


def test_what_a_draft_needs_is_decided_on_its_first_drafts() -> None:
    world = Played(most=6, risk=0.05)
    world.request(request_for("worth", depth=1, plan={"prompt": "x", "personas": ["brick"], "drafts": 2}))
    world.goes_well()
    tried_all(world, "    return 1", "    return 2")
    rules(world, None, 0.4)
    world.goes_well()
    assert type(world.answers[1]) is Refused and world.counts["AskWriter", 1] == 1


def test_the_risk_of_a_message_is_its_own() -> None:
    world = Played(risk=0.05)
    world.request(request_for("worth", risk=0.4))
    world.goes_well()
    tried_all(world, "    return 1")
    (order,) = world.pending
    assert isinstance(order, ApplyRule) and order.candidates[0]["risk"] == 0.4


def test_who_answers_the_question_is_given_the_drafts_that_there_were() -> None:
    earlier = [Draft(source="def worth(self):\n    return 1\n", persona="brick", mode="base", outcome="ok", group="a", times=3)]
    world = Played()
    world.request(request_for("worth", clauses=[Clause(Example("1"))]))
    world.end(world.pending[0], Claimed(1, Claim("mine", bytes(8), "reified", earlier=earlier)))
    world.goes_well()
    assert not world.questions
    world.tried(TrialOutcome(kind="ok", result="1", examples=1, examples_passed=1))
    assert world.answers == {1: None} and world.installed[0].proof["drafts"][0]["times"] == 3


def test_and_where_none_of_those_will_do_the_model_is_asked() -> None:
    earlier = [Draft(source="def worth(self):\n    return 1\n", persona="brick", mode="base", outcome="ok")]
    world = Played()
    world.request(request_for("worth", clauses=[Clause(Example("2"))]))
    world.end(world.pending[0], Claimed(1, Claim("mine", bytes(8), "reified", earlier=earlier)))
    world.goes_well()
    world.tried(TrialOutcome(kind="ok", result="1", examples=1, examples_passed=0))
    (order,) = world.questions.values()
    assert isinstance(order, AskWriter) and order.generate.samplings[0].temperature == 0.0
    world.answered("    return 2")
    world.tried(TrialOutcome(kind="ok", result="2", examples=1, examples_passed=1))
    assert world.answers == {1: None} and world.installed[0].source.endswith("return 2\n")
