"""What happens to an upgrade, and what is to be done about it: the words between `process`, which decides, and `works`, which carries out.

Events are what a journal holds, one a line, as JSON with the tag `event`: a change here must still read the journals that are there.
Times are seconds since the epoch where a person reads them (`at`), durations in seconds.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from deploy.upgrader.instructions import UpdateInstructions

Reasons = Annotated[list[str], Meta(max_length=50)]


class DistributionChange(Struct, frozen=True):
    """One distribution that differs between two environments; no version: it is not in that one. `hashes`: of its wheel, as wished."""

    name: str
    before: str
    after: str
    hashes: list[str] = []


class ImageIdentity(Struct, frozen=True):
    """Who the image is. `digest`: of the Codex and of the objects that it was born with; it stays the same for good.

    `codex`: the Codex's own. `shape`: of the image's structure (`uvm.image.shape`). `names`: how many objects are named. `chronicle`: by
    writer, how far its book goes, which only grows.
    """

    digest: str
    codex: str
    shape: int
    names: int
    chronicle: dict[str, list[int]]


class PlankReport(Struct, frozen=True):
    """One process that was replaced: how long nobody was there in its place, from the end of the old one to the new one being well."""

    program: str
    down_s: float
    before: int
    after: int


class Load(Struct, frozen=True):
    """What the bridge counted over a span: messages answered, seconds from arrival to answer, answers that were errors, UVMs that died,
    messages given to another UVM.
    """

    seconds: float = 0.0
    answered: int = 0
    waited_s: float = 0.0
    failed: int = 0
    deaths: int = 0
    replayed: int = 0


class UpgradeEvent(Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened to an upgrade, at a time."""

    at: float = 0.0


class WishSeen(UpgradeEvent, frozen=True, kw_only=True):
    """A wish came that may be carried out."""

    wish: UpdateInstructions


class WishRefused(UpgradeEvent, frozen=True, kw_only=True):
    """A wish came that may not. Of the image's own (`deploy.upgrader.door`) the rest is known as well; of a file that is none, nothing."""

    why: str
    id: str = ""
    asked_by: str = ""
    reason: str = ""
    wished: list[str] = []


class CandidateBuilt(UpgradeEvent, frozen=True, kw_only=True):
    """The new environment is there. `octets`: what it takes on disk beyond what it shares; `made`: for this upgrade, not an earlier one."""

    prefix: str
    before: str
    changes: list[DistributionChange]
    octets: int
    made: bool
    seconds: float


class CandidateProved(UpgradeEvent, frozen=True, kw_only=True):
    """It does its work on a copy of the image. `copy`: who that was, migrated; `real`: who the image is, before anything is replaced."""

    seconds: float
    copy: ImageIdentity
    real: ImageIdentity


class PlankReplaced(UpgradeEvent, frozen=True, kw_only=True):
    """One process runs from the new environment."""

    report: PlankReport


class PlanksReplaced(UpgradeEvent, frozen=True, kw_only=True):
    """All that the plan names do."""

    manner: str
    load: Load


class Awoke(UpgradeEvent, frozen=True, kw_only=True):
    """They are well, and the image is who it was."""

    identity: ImageIdentity


class ProbationPassed(UpgradeEvent, frozen=True, kw_only=True):
    """It was well for as long as asked."""

    seconds: float
    load: Load


class CandidateKept(UpgradeEvent, frozen=True, kw_only=True):
    """The new environment is the one in force."""


class UpgradeStepFailed(UpgradeEvent, frozen=True, kw_only=True):
    """What was under way did not succeed. `log`: the end of what was written meanwhile."""

    why: Reasons
    log: str = ""


class RollbackAsked(UpgradeEvent, frozen=True, kw_only=True):
    """Somebody wants the old environment back while the new one is on trial."""

    by: str


class SwitchedBack(UpgradeEvent, frozen=True, kw_only=True):
    """The processes run from the old environment again, and are well. `service_s`: from the decision until they were."""

    service_s: float
    planks: list[PlankReport]


class OutcomeRecorded(UpgradeEvent, frozen=True, kw_only=True):
    """What became of it is in the image's chronicle."""


class UpgraderStarted(UpgradeEvent, frozen=True, kw_only=True):
    """The upgrader has begun anew, and found this upgrade unfinished."""


Event = (
    WishSeen
    | WishRefused
    | CandidateBuilt
    | CandidateProved
    | PlankReplaced
    | PlanksReplaced
    | Awoke
    | ProbationPassed
    | CandidateKept
    | UpgradeStepFailed
    | RollbackAsked
    | SwitchedBack
    | OutcomeRecorded
    | UpgraderStarted
)


class BuildCandidate(Struct, frozen=True):
    """Build the environment that is wished for, from nothing."""

    wish: UpdateInstructions


class ProveCandidate(Struct, frozen=True):
    """Have it do its work on a copy of the image."""

    wish: UpdateInstructions
    prefix: str


class ReplacePlanks(Struct, frozen=True):
    """Replace the processes that these changes concern, so that they run from this environment.

    `migrates`: the image gets another shape with it, without which the new processes do not begin.
    """

    prefix: str
    changes: list[DistributionChange]
    migrates: bool


class AwaitHealth(Struct, frozen=True):
    """Wait until the processes say that they are well, and ask the image who it is; it must be who it was."""

    prefix: str
    before: ImageIdentity


class WatchProbation(Struct, frozen=True):
    """Watch the processes for as long as configured. `before`: what the bridge counted with the old environment."""

    before: Load


class KeepCandidate(Struct, frozen=True):
    """Make it the environment in force."""

    prefix: str


class SwitchBack(Struct, frozen=True):
    """Have every process run from the environment in force. `pause_s`: to wait before, after a try that failed.

    `prefix`: the environment that was on trial; `shape`: of the image before, which migrations of that one may have changed.
    """

    pause_s: float
    prefix: str
    shape: int


class RemoveCandidate(Struct, frozen=True):
    """Remove what was built."""

    prefix: str


class RecordOutcome(Struct, frozen=True):
    """Write the receipt into the image's chronicle, once."""

    receipt: dict[str, Any]


UpgradeInstruction = (
    BuildCandidate
    | ProveCandidate
    | ReplacePlanks
    | AwaitHealth
    | WatchProbation
    | KeepCandidate
    | SwitchBack
    | RemoveCandidate
    | RecordOutcome
)
