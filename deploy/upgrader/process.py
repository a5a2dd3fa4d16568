"""An upgrade, decided: from a wish to a new environment in force, or to the old one as it was. No clock, no file, no process.

Called by the upgrader's one thread, through `works`, and by whoever reads a journal: `UpgradeProcess.handle(event)` takes what happened
and returns what is to be done next. The same events lead to the same state, so a journal is all that an upgrade needs to be kept.

    seen → building → proving → switching → awakening → probation → keeping → permanent
             │          │           └───────────┴───────────┴──────→ reverting → reverted
             └──────────┴────────────────────────────────────────────────────────↗

* Until `switching` no process of the service is touched: what fails before leaves it as it is, at once.
* From `switching` to the end of `probation` an environment is on trial, once: the trial is counted in the journal before anything is
  replaced, and an upgrader that begins anew and finds one under way switches back. An upgrader that died while building or proving
  does it again, `BEGUN` times in all.
* Only `keeping` makes the environment the one in force; until then, whatever starts the service anew starts the old one. From
  there on there is no way back but a new wish.
* Switching back is tried until it succeeds, with longer and longer pauses: there is nothing else that could be done.
* In the end what happened is written into the image, once, whatever it was. A dry run ends before, and changes nothing there either.
"""

from typing import Any, Final, Literal

from msgspec import Struct

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
from deploy.upgrader.instructions import UpdateInstructions

UpgradeStage = Literal[
    "new", "building", "proving", "switching", "awakening", "probation", "keeping", "permanent", "reverting", "reverted", "refused", "dry"
]

ENDED: Final[frozenset[UpgradeStage]] = frozenset({"permanent", "reverted", "refused", "dry"})
ON_TRIAL: Final[frozenset[UpgradeStage]] = frozenset({"switching", "awakening", "probation"})
BEGUN: Final = 3
"""How often building and proving are begun, each upgrader that died on the way counted."""
LONGEST_PAUSE_S: Final = 30.0
LOG: Final = 4000
"""Characters of a log that a receipt keeps: the last ones."""

TAKES: Final[dict[UpgradeStage, tuple[type, ...]]] = {
    "new": (WishSeen, WishRefused),
    "building": (CandidateBuilt, UpgradeStepFailed, UpgraderStarted),
    "proving": (CandidateProved, UpgradeStepFailed, UpgraderStarted),
    "switching": (PlankReplaced, PlanksReplaced, UpgradeStepFailed, RollbackAsked, UpgraderStarted),
    "awakening": (Awoke, UpgradeStepFailed, RollbackAsked, UpgraderStarted),
    "probation": (ProbationPassed, UpgradeStepFailed, RollbackAsked, UpgraderStarted),
    "keeping": (CandidateKept, UpgradeStepFailed, UpgraderStarted),
    "reverting": (SwitchedBack, UpgradeStepFailed, UpgraderStarted),
    "permanent": (OutcomeRecorded, UpgraderStarted),
    "reverted": (OutcomeRecorded, UpgraderStarted),
    "refused": (OutcomeRecorded, UpgraderStarted),
    "dry": (),
}
"""What may happen in which stage."""


class InvalidUpgradeEvent(Exception):
    """An event that cannot happen in this stage: a fault of ours, or a journal that is not one."""


class StageTime(Struct, frozen=True):
    """When a stage was entered, seconds since the epoch."""

    stage: UpgradeStage
    at: float


class UpgradeProcess:
    """One upgrade. `number` is its own for good, counted from 1."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.stage: UpgradeStage = "new"
        self.wish: UpdateInstructions | None = None
        self.refused: WishRefused | None = None
        self.stages: list[StageTime] = []
        self.why: list[str] = []
        self.log = ""
        self.built: CandidateBuilt | None = None
        self.proved: CandidateProved | None = None
        self.awoke: ImageIdentity | None = None
        self.before = Load()
        self.during = Load()
        self.manner = ""
        self.planks: list[PlankReport] = []
        self.planks_back: list[PlankReport] = []
        self.service_s = 0.0
        self.begun = 0
        self.trials = 0
        self.failed_reverts = 0
        self.recorded = False

    @property
    def wish_id(self) -> str:
        """The id of the wish that it carries out, or refused; empty where what came was none."""
        return self.wish.id if self.wish else self.refused.id if self.refused else ""

    @property
    def asked_by(self) -> str:
        """Who wished, as the wish says."""
        return self.wish.asked_by if self.wish else self.refused.asked_by if self.refused else ""

    @property
    def wished(self) -> list[str]:
        """What was wished for, `NAME==VERSION`."""
        if self.wish:
            return [f"{each.name}=={each.version}" for each in self.wish.requirements]
        return self.refused.wished if self.refused else []

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done, but for the receipt where `recorded` is false."""
        return self.stage in ENDED

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be done at all."""
        return self.stage == "dry" or (self.ended and self.recorded)

    def handle(self, event: Event) -> list[UpgradeInstruction]:
        """What to do about `event`. Raises InvalidUpgradeEvent for one that cannot happen now; nothing has changed then."""
        if self.settled or not isinstance(event, TAKES[self.stage]):
            raise InvalidUpgradeEvent(f"upgrade {self.number} is {self.stage}, where {type(event).__name__} cannot happen")
        match event:
            case WishSeen(wish=wish):
                self.wish = wish
                return self._build(event.at)
            case WishRefused(why=why):
                self.refused, self.why = event, [why]
                return self._end("refused", event.at)
            case CandidateBuilt():
                self.built = event
                return self._prove(event.at)
            case CandidateProved():
                self.proved = event
                return self._switch(event.at)
            case PlankReplaced(report=report):
                self.planks.append(report)
                return []
            case PlanksReplaced(manner=manner, load=load):
                self.manner, self.before = manner, load
                self._enter("awakening", event.at)
                return [AwaitHealth(self._prefix(), self._proved().real)]
            case Awoke(identity=identity):
                self.awoke = identity
                self._enter("probation", event.at)
                return [WatchProbation(self.before)]
            case ProbationPassed(load=load):
                self.during = load
                self._enter("keeping", event.at)
                return [KeepCandidate(self._prefix())]
            case CandidateKept():
                return self._end("permanent", event.at)
            case RollbackAsked(by=by):
                self.why = [f"{by} asked for the old environment"]
                return self._revert(event.at)
            case SwitchedBack(service_s=service_s, planks=planks):
                self.service_s, self.planks_back = service_s, planks
                return [*self._remove(), *self._end("reverted", event.at)]
            case OutcomeRecorded():
                self.recorded = True
                return []
            case UpgradeStepFailed(why=why, log=log):
                return self._fail(why, log, event.at)
            case UpgraderStarted():
                return self._begin_anew(event.at)

    # --- the stages ----------------------------------------------------------------------------------------------------

    def _build(self, at: float) -> list[UpgradeInstruction]:
        self.begun += 1
        self._enter("building", at)
        return [BuildCandidate(self._wish())]

    def _prove(self, at: float) -> list[UpgradeInstruction]:
        self._enter("proving", at)
        return [ProveCandidate(self._wish(), self._prefix())]

    def _switch(self, at: float) -> list[UpgradeInstruction]:
        if self._wish().dry_run:
            self._enter("dry", at)
            return self._remove()
        self.trials += 1
        self._enter("switching", at)
        proved = self._proved()
        return [ReplacePlanks(self._prefix(), self._changes(), proved.copy.shape != proved.real.shape)]

    def _revert(self, at: float, pause_s: float = 0.0) -> list[UpgradeInstruction]:
        self._enter("reverting", at)
        return [self._switch_back(pause_s)]

    def _switch_back(self, pause_s: float) -> UpgradeInstruction:
        return SwitchBack(pause_s, self._prefix(), self._proved().real.shape)

    def _end(self, stage: UpgradeStage, at: float) -> list[UpgradeInstruction]:
        self._enter(stage, at)
        return [RecordOutcome(self.receipt())]

    def _fail(self, why: list[str], log: str, at: float) -> list[UpgradeInstruction]:
        if self.stage == "reverting":
            self.failed_reverts += 1
            return [self._switch_back(min(LONGEST_PAUSE_S, 2.0 ** min(self.failed_reverts, 10)))]
        self.why, self.log = why, log[-LOG:]
        if self.stage in ON_TRIAL or self.stage == "keeping":
            return self._revert(at)
        return [*self._remove(), *self._end("reverted", at)]

    def _begin_anew(self, at: float) -> list[UpgradeInstruction]:
        if self.ended:
            return [*(self._remove() if self.stage == "reverted" else ()), RecordOutcome(self.receipt())]
        if self.stage in ON_TRIAL:
            self.why = [f"the upgrader ended while the new environment was on trial, in {self.stage}"]
            return self._revert(at)
        if self.stage == "reverting":
            return [self._switch_back(0.0)]
        if self.stage == "keeping":
            return [KeepCandidate(self._prefix())]
        if self.begun >= BEGUN:
            self.why = [f"the upgrader ended {self.begun} times while {self.stage}"]
            return [*self._remove(), *self._end("reverted", at)]
        if self.stage == "building":
            return self._build(at)
        self.begun += 1
        return [ProveCandidate(self._wish(), self._prefix())]

    def _remove(self) -> list[UpgradeInstruction]:
        return [RemoveCandidate(self.built.prefix)] if self.built is not None and self.built.made else []

    def _enter(self, stage: UpgradeStage, at: float) -> None:
        self.stage = stage
        self.stages.append(StageTime(stage, at))

    # --- what is known -------------------------------------------------------------------------------------------------

    def _wish(self) -> UpdateInstructions:
        if self.wish is None:
            raise InvalidUpgradeEvent(f"upgrade {self.number} has no wish")
        return self.wish

    def _prefix(self) -> str:
        if self.built is None:
            raise InvalidUpgradeEvent(f"upgrade {self.number} has built nothing")
        return self.built.prefix

    def _proved(self) -> CandidateProved:
        if self.proved is None:
            raise InvalidUpgradeEvent(f"upgrade {self.number} has proved nothing")
        return self.proved

    def _changes(self) -> list[DistributionChange]:
        return self.built.changes if self.built else []

    def receipt(self) -> dict[str, Any]:
        """What the chronicle keeps of it: plain values, of bounded size."""
        identities = {"before": self.proved.real if self.proved else None, "after": self.awoke}
        came = self.wish or self.refused
        return {
            "upgrade": self.number,
            "wish": self.wish_id,
            "outcome": self.stage,
            "why": "; ".join(self.why)[:LOG],
            "log": self.log,
            "asked_by": self.asked_by,
            "reason": came.reason if came else "",
            "wished": self.wished,
            "changes": [
                f"{each.name} {each.before or '-'} → {each.after or '-'} {' '.join(each.hashes)}".strip() for each in self._changes()
            ],
            "manner": self.manner,
            "identity": {name: identity.digest for name, identity in identities.items() if identity},
            "shape": {name: identity.shape for name, identity in identities.items() if identity},
            "down_s": {plank.program: round(plank.down_s, 3) for plank in self.planks},
            "replayed": self.during.replayed,
            "deaths": self.during.deaths,
            "answered_in_probation": self.during.answered,
            "seconds": {entry.stage: round(self._lasted(number), 3) for number, entry in enumerate(self.stages[:-1])},
        }

    def _lasted(self, number: int) -> float:
        return self.stages[number + 1].at - self.stages[number].at
