"""An upgrade's course, decided: every way that it can take ends in the new environment or the old one, with one trial at most."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.upgrader.events import (
    AwaitHealth,
    Awoke,
    BuildCandidate,
    CandidateBuilt,
    CandidateKept,
    CandidateProved,
    DistributionChange,
    Event,
    ImageIdentity,
    KeepCandidate,
    Load,
    OutcomeRecorded,
    PlankReplaced,
    PlankReport,
    PlanksReplaced,
    ProbationPassed,
    ProveCandidate,
    RecordOutcome,
    RemoveCandidate,
    ReplacePlanks,
    RollbackAsked,
    SwitchBack,
    SwitchedBack,
    UpgradeInstruction,
    UpgraderStarted,
    UpgradeStepFailed,
    WatchProbation,
    WishRefused,
    WishSeen,
)
from deploy.upgrader.instructions import PinnedDistribution, UpdateInstructions
from deploy.upgrader.process import BEGUN, ENDED, LONGEST_PAUSE_S, ON_TRIAL, InvalidUpgradeEvent, UpgradeProcess

WISH = UpdateInstructions("0" * 16, 1, "tester", requirements=[PinnedDistribution("small", "2", ["sha256:" + "a" * 64])])
WHO = ImageIdentity("digest", "codex", 1, 9, {"uvm-1": [0, 3]})
FAILED = UpgradeStepFailed(why=["it broke"], log="the end of a log")

WELL: dict[type, Event] = {
    BuildCandidate: CandidateBuilt(
        prefix="/new", before="/old", changes=[DistributionChange("small", "1", "2")], octets=5, made=True, seconds=1
    ),
    ProveCandidate: CandidateProved(seconds=1, copy=WHO, real=WHO),
    ReplacePlanks: PlanksReplaced(manner="rolling", load=Load()),
    AwaitHealth: Awoke(identity=WHO),
    WatchProbation: ProbationPassed(seconds=60, load=Load()),
    KeepCandidate: CandidateKept(),
    SwitchBack: SwitchedBack(service_s=1, planks=[]),
    RecordOutcome: OutcomeRecorded(),
}
"""What comes of each instruction that succeeds."""


def carried(process: UpgradeProcess, event: Event, until: type | None = None) -> list[UpgradeInstruction]:
    """Everything that is instructed from an event on, all of it succeeding; `until`: the first of a kind, which is not carried out."""
    pending, seen = process.handle(event), []
    while pending:
        instruction = pending.pop(0)
        seen.append(instruction)
        if until is not None and isinstance(instruction, until):
            return seen
        if type(instruction) in WELL:
            pending += process.handle(WELL[type(instruction)])
    return seen


def begun(until: type) -> UpgradeProcess:
    """An upgrade that has just been told to do this."""
    process = UpgradeProcess(1)
    carried(process, WishSeen(wish=WISH), until)
    return process


def kinds(instructions: list[UpgradeInstruction]) -> list[type]:
    return [type(instruction) for instruction in instructions]


def test_what_goes_well_is_built_proved_switched_watched_kept_and_recorded() -> None:
    process = UpgradeProcess(1)
    done = carried(process, WishSeen(wish=WISH))
    assert kinds(done) == [BuildCandidate, ProveCandidate, ReplacePlanks, AwaitHealth, WatchProbation, KeepCandidate, RecordOutcome]
    assert process.stage == "permanent" and process.settled and process.trials == 1
    assert isinstance(done[-1], RecordOutcome)
    assert done[-1].receipt["outcome"] == "permanent" and done[-1].receipt["identity"] == {"before": "digest", "after": "digest"}


@pytest.mark.parametrize("step", [BuildCandidate, ProveCandidate])
def test_what_fails_before_the_switch_touches_no_process(step: type) -> None:
    process = begun(step)
    rest = carried(process, FAILED)
    assert kinds(rest) == ([RemoveCandidate] if step is ProveCandidate else []) + [RecordOutcome]
    assert process.stage == "reverted" and process.why == ["it broke"] and process.trials == 0


@pytest.mark.parametrize("step", [ReplacePlanks, AwaitHealth, WatchProbation, KeepCandidate])
@pytest.mark.parametrize("event", [FAILED, RollbackAsked(by="somebody"), UpgraderStarted()])
def test_what_fails_on_trial_goes_back(step: type, event: Event) -> None:
    process = begun(step)
    if step is KeepCandidate and event is not FAILED:
        return  # it is decided by then: keeping is carried on
    rest = carried(process, event)
    assert kinds(rest) == [SwitchBack, RemoveCandidate, RecordOutcome]
    assert process.stage == "reverted" and process.settled


def test_a_dry_run_ends_before_the_switch_and_leaves_nothing() -> None:
    process = UpgradeProcess(1)
    done = carried(
        process, WishSeen(wish=UpdateInstructions("0" * 16, 1, "tester", back_to=None, requirements=WISH.requirements, dry_run=True))
    )
    assert kinds(done) == [BuildCandidate, ProveCandidate, RemoveCandidate]
    assert process.stage == "dry" and process.settled and process.trials == 0


def test_a_wish_that_is_refused_is_recorded_and_nothing_else() -> None:
    process = UpgradeProcess(1)
    assert kinds(carried(process, WishRefused(why="no signature"))) == [RecordOutcome]
    assert process.stage == "refused"


def test_an_environment_that_was_there_before_is_not_removed_with_the_upgrade() -> None:
    process = UpgradeProcess(1)
    process.handle(WishSeen(wish=UpdateInstructions("0" * 16, 1, "tester", back_to=0)))
    process.handle(CandidateBuilt(prefix="/first", before="/old", changes=[], octets=0, made=False, seconds=0))
    assert kinds(carried(process, FAILED)) == [RecordOutcome]


def test_going_back_is_tried_until_it_succeeds_with_longer_pauses() -> None:
    process = begun(WatchProbation)
    pauses = []
    for _ in range(9):
        (again,) = process.handle(FAILED)
        assert isinstance(again, SwitchBack)
        pauses.append(again.pause_s)
    assert pauses == sorted(pauses) and pauses[0] == 0 and pauses[-1] == LONGEST_PAUSE_S
    assert process.why == ["it broke"]


def test_building_is_begun_so_often_and_no_oftener() -> None:
    process = begun(BuildCandidate)
    for _ in range(BEGUN - 1):
        assert kinds(process.handle(UpgraderStarted())) == [BuildCandidate]
    assert kinds(process.handle(UpgraderStarted())) == [RecordOutcome]
    assert process.stage == "reverted"


def test_an_event_that_cannot_happen_changes_nothing() -> None:
    process = begun(BuildCandidate)
    with pytest.raises(InvalidUpgradeEvent, match="CandidateKept"):
        process.handle(CandidateKept())
    assert process.stage == "building"


EVENTS = st.sampled_from(["well", "well", "well", "failed", "died", "asked", "plank"])


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_there_is_one_trial_and_an_end_in_which_the_environment_fits_the_outcome(happenings: list[str]) -> None:
    clock = count(1.0)
    process = UpgradeProcess(1)
    journal: list[Event] = []
    in_force = running = "/old"

    def take(event: Event) -> list[UpgradeInstruction]:
        told = process.handle(event)
        journal.append(event)
        return told

    pending = take(WishSeen(wish=WISH, at=next(clock)))
    for happening in [*happenings, *["well"] * 20]:
        if process.settled:
            break
        if happening == "died":  # what was under way is forgotten, and the journal is read again
            again = UpgradeProcess(1)
            for event in journal:
                again.handle(event)
            assert vars(again) == vars(process)
            pending = take(UpgraderStarted(at=next(clock)))
        elif happening == "asked" and process.stage in ON_TRIAL:
            pending = take(RollbackAsked(by="somebody", at=next(clock)))
        elif happening == "plank" and process.stage == "switching":
            take(PlankReplaced(report=PlankReport("uvm-1", 0.5, 1, 2)))
            running = "/new"
        elif pending:
            instruction = pending.pop(0)
            if happening == "failed" and not isinstance(instruction, RecordOutcome | RemoveCandidate):
                pending = take(FAILED)
                continue
            match instruction:
                case ReplacePlanks():
                    running = "/new"
                case KeepCandidate():
                    assert running == "/new"
                    in_force = "/new"
                case SwitchBack():
                    running = in_force
                case RemoveCandidate(prefix=prefix):
                    assert prefix not in (in_force, running)
            if type(instruction) in WELL:
                pending += take(WELL[type(instruction)])
        assert process.trials <= 1
        assert (in_force == "/new") <= (process.stage in ("keeping", "permanent"))
    assert process.stage in ENDED and process.settled
    assert running == in_force == ("/new" if process.stage == "permanent" else "/old")


def test_an_image_that_gets_another_shape_on_trial_gets_its_own_back() -> None:
    process = begun(ProveCandidate)
    (replace,) = process.handle(CandidateProved(seconds=1, copy=ImageIdentity("digest", "codex", 3, 9, {}), real=WHO))
    assert isinstance(replace, ReplacePlanks) and replace.migrates
    (back,) = process.handle(FAILED)
    assert isinstance(back, SwitchBack) and (back.prefix, back.shape) == ("/new", WHO.shape)
