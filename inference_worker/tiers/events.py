"""What the tier scheduler is told and what it says: events in, instructions out. Data only.

The worker's event loop and the simulator drive one and the same core (`inference_worker.tiers.scheduler`) with these: each
event has the time at which it happened (`at`, seconds of the driver's monotonic clock), and each instruction is carried
out in the order in which it was given. A model and an adapter are named by digest.

An adapter is in one of four places, each of which holds all that the places before it hold:

    remote → cold → warm → hot
    (a peer) (disk) (parsed in RAM) (a slot of the engine)
"""

from collections.abc import Hashable
from enum import IntEnum, StrEnum

from msgspec import Struct

Key = tuple[bytes, str]
"""A client and its name for the request."""


class Tier(StrEnum):
    """Where an adapter is."""

    REMOTE = "remote"
    COLD = "cold"
    WARM = "warm"
    HOT = "hot"


class Priority(IntEnum):
    """Who waits: a person, a tool, or nobody (the heartbeat's batches). The smaller goes first."""

    INTERACTIVE = 0
    NORMAL = 1
    BACKGROUND = 2


# --- events -----------------------------------------------------------------------------------------------------------


class Registered(Struct, frozen=True):
    """An adapter of `size` bytes on disk is known. `remote`: a peer has it, this disk has not."""

    at: float
    adapter: str
    size: int
    rank: int
    remote: bool = False


class Removed(Struct, frozen=True):
    """An adapter's files are gone or quarantined: who waits for it is refused with `reason`."""

    at: float
    adapter: str
    reason: str


class RequestArrived(Struct, frozen=True):
    """A request waits. `streams`: sequences it decodes together; `session`: whose sequence of adapters it belongs to.

    `alone`: it may run with no other request (an engine died on it). Requests of different models never run together.
    """

    at: float
    key: Key
    model: str
    streams: int = 1
    adapter: str | None = None
    priority: Priority = Priority.NORMAL
    client: Hashable = b""
    session: str = ""
    alone: bool = False


class RequestEnded(Struct, frozen=True):
    """A request is over, however it ended, whether it ran or still waited."""

    at: float
    key: Key


class WasFetched(Struct, frozen=True):
    """An adapter came from a peer and was verified: it is cold now. `size`: its bytes on disk."""

    at: float
    adapter: str
    size: int
    seconds: float


class WasRead(Struct, frozen=True):
    """An adapter was read, checked and parsed: it is warm now. `size`: bytes in RAM."""

    at: float
    adapter: str
    size: int
    seconds: float


class Committed(Struct, frozen=True):
    """An adapter is in a slot: it is hot now."""

    at: float
    adapter: str
    seconds: float


class MoveFailed(Struct, frozen=True):
    """A fetch, read or commit failed; the adapter stays where it was, and who waits for it is refused with `reason`."""

    at: float
    adapter: str
    reason: str


class EngineReady(Struct, frozen=True):
    """The engine for `model` can take requests. `slots`: adapters it holds hot; all of them are empty, and so is RAM."""

    at: float
    model: str
    slots: int
    slot_size: int


class EngineGone(Struct, frozen=True):
    """The engine ended, died, or did not start. `reason` is empty when it was told to stop.

    What was hot or warm is cold. Requests that ran are told to the core as `RequestEnded` (and perhaps `RequestArrived` again) by the
    driver. `hopeless`: who waits for `model` is refused, instead of the engine being started again.
    """

    at: float
    model: str
    reason: str = ""
    hopeless: bool = False


class Ticked(Struct, frozen=True):
    """Time passed: at least once a second while the driver lives."""

    at: float


Event = (
    Registered | Removed | RequestArrived | RequestEnded | WasFetched | WasRead | Committed | MoveFailed | EngineReady | EngineGone | Ticked
)

# --- instructions -----------------------------------------------------------------------------------------------------


class StartEngine(Struct, frozen=True):
    """Have an engine for `model`, in place of any other; answered by EngineReady or EngineGone."""

    model: str


class StopEngine(Struct, frozen=True):
    """Nobody has needed the engine for long: unload it; answered by EngineGone."""


class Fetch(Struct, frozen=True):
    """Remote → cold: get the adapter from a peer; answered by WasFetched or MoveFailed."""

    adapter: str


class ReadAdapter(Struct, frozen=True):
    """Cold → warm: read, check and parse the adapter, stalling nobody; answered by WasRead or MoveFailed."""

    adapter: str


class Commit(Struct, frozen=True):
    """Warm → hot: put the adapter into a free slot, between two steps; answered by Committed or MoveFailed."""

    adapter: str


class Retire(Struct, frozen=True):
    """Hot → warm: free the adapter's slot. Done once given."""

    adapter: str


class Unload(Struct, frozen=True):
    """Warm → cold: forget the parsed adapter. Done once given."""

    adapter: str


class Delete(Struct, frozen=True):
    """Cold → remote: delete the files of an adapter that came from a peer. Done once given."""

    adapter: str


class Admit(Struct, frozen=True):
    """Run the request now. `tier`: where its adapter was when the request arrived (None without adapter)."""

    key: Key
    tier: Tier | None = None


class Refuse(Struct, frozen=True):
    """Answer the request with a failure of `type` (BadAdapter or EngineStartFailed)."""

    key: Key
    type: str
    reason: str


Instruction = StartEngine | StopEngine | Fetch | ReadAdapter | Commit | Retire | Unload | Delete | Admit | Refuse
