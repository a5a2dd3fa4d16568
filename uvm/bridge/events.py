"""What happens at the bridge, and what is to be done: the events that go into `uvm.bridge.dispatcher`, the instructions that come out.

Plain values; the bridge makes the events and carries out the instructions, `uvm.bridge.dispatcher` decides. None of them is ever part of a
cycle, so that the garbage collector need not look at them (`gc=False`): several are made for each message.
"""

from typing import Any

from msgspec import Struct

from deploy.settings import QuotaSettings
from uvm.protocol import Busy, Error, Reply
from uvm.rights import Spent

Key = tuple[str, str, int]
"""Principal, session, sequence number: what makes a message the same message."""

LaneKey = tuple[str, str, int]
"""Principal, session, and the message's number where it has no session: what goes in order."""

_QUOTA = QuotaSettings()


# --- events ----------------------------------------------------------------------------------------------------------


class MessageArrived(Struct, frozen=True, kw_only=True, gc=False):
    """A tool's request. `address` says where the answer goes; `repeatable` that running it twice does no harm.

    `connection` is what it came by, `quota` what its principal may use. `digest` is empty when the message has no number in its session.
    """

    address: Any
    id: int
    payload: bytes
    principal: str
    session: str = ""
    seq: int = 0
    digest: bytes = b""
    via: str = ""
    deadline_s: float
    repeatable: bool
    connection: bytes = b""
    quota: QuotaSettings = _QUOTA

    @property
    def key(self) -> Key | None:
        """None: two arrivals of it are two messages."""
        return (self.principal, self.session, self.seq) if self.digest else None


class MessageCancelled(Struct, frozen=True, gc=False):
    """A tool does not want the message with this key any longer."""

    address: Any
    id: int
    key: Key


class PrincipalsChanged(Struct, frozen=True, gc=False):
    """These are the principals from now on."""

    names: frozenset[str]


class UvmReady(Struct, frozen=True, gc=False):
    """A UVM that holds no delivery takes deliveries."""

    uvm: str
    incarnation: str


class UvmAlive(Struct, frozen=True, gc=False):
    """A UVM gave a sign of life."""

    uvm: str


class UvmLeft(Struct, frozen=True, gc=False):
    """A UVM ended cleanly: what it has not answered, it has not run."""

    uvm: str


class UvmDied(Struct, frozen=True, gc=False):
    """A UVM's process is gone."""

    uvm: str


class UvmEnding(Struct, frozen=True, gc=False):
    """A UVM seems to be gone; what it said last may still be on its way. It gets no more messages."""

    uvm: str


class Undelivered(Struct, frozen=True, gc=False):
    """An assigned message could not be handed to its UVM."""

    uvm: str
    delivery: int


class Finished(Struct, frozen=True, gc=False):
    """A UVM answered a delivery; `payload` is the encoded answer, `spent` what the delivery used."""

    uvm: str
    delivery: int
    payload: bytes
    spent: Spent = Spent()


class UsageReported(Struct, frozen=True, gc=False):
    """A UVM has used so much for a principal, and for none of its deliveries."""

    uvm: str
    principal: str
    spent: Spent


class DeliveriesParked(Struct, frozen=True, gc=False):
    """These deliveries of a UVM run no code until they are resumed."""

    uvm: str
    deliveries: list[int]
    parked: bool


class DeliveriesReturned(Struct, frozen=True, gc=False):
    """A UVM gave back deliveries that it had not begun."""

    uvm: str
    deliveries: list[int]


class Tick(Struct, frozen=True, gc=False):
    """Time went by."""


FromUvm = UvmAlive | UvmLeft | UvmDied | UvmEnding | Undelivered | Finished | UsageReported | DeliveriesParked | DeliveriesReturned
DispatchEvent = MessageArrived | MessageCancelled | PrincipalsChanged | UvmReady | FromUvm | Tick


# --- instructions ------------------------------------------------------------------------------------------------------


class Assign(Struct, frozen=True, gc=False):
    """Give the message to the UVM."""

    uvm: str
    delivery: int
    payload: bytes
    principal: str
    alone: bool
    age_s: float


class DropDelivery(Struct, frozen=True, gc=False):
    """Tell the UVM that nobody waits for the delivery."""

    uvm: str
    delivery: int


class RecallDeliveries(Struct, frozen=True, gc=False):
    """Ask the UVM to give back what it has not begun."""

    uvm: str


class KillUvm(Struct, frozen=True, gc=False):
    """End the UVM's process: it is silent, and must not come back to what others are given now."""

    uvm: str


class ForwardAnswer(Struct, frozen=True, gc=False):
    """Send a UVM's answer to the tool, under the `id` that this tool used; the one inside `payload` may be another arrival's."""

    address: Any
    id: int
    payload: bytes
    waited_s: float


class RefuseMessage(Struct, frozen=True, gc=False):
    """Send the bridge's own answer to the tool."""

    address: Any
    answer: Error | Busy | Reply


class UvmLost(Struct, frozen=True, gc=False):
    """The UVM is off the list; `suspects` of its messages are to be examined. `clean`: it has not left anything unsaid."""

    uvm: str
    why: str
    suspects: int
    clean: bool


Instruction = Assign | DropDelivery | RecallDeliveries | KillUvm | ForwardAnswer | RefuseMessage | UvmLost
