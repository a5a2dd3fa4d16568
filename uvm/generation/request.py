"""A method that a message cannot go on without: what was sent to whom. Wire values and records only; pure.

`uvm.generation.misses` makes one out of a miss, `offered` out of what a tool offers.
"""

from typing import Any

from msgspec import Struct

from uvm.language.syntax import parse
from uvm.protocol import CreateMethod
from uvm.rights import ALL, Limits, Right


class MethodRequest(Struct, frozen=True, kw_only=True):
    """A message whose method is to be written, or is offered by a tool.

    `receiver`: its oid; `parents`: the oids of its parents; `overlay`: records of what the attempt had changed or made. `reified`: the
    slots of the message object in plain values. `plan`: what `reflectOn_` asked for. `asked_at`: arrival, seconds since the epoch.
    `offered`: the source that a tool offers in place of drafts; `here`: for its object alone. `depth`: how many messages wait for this
    one, in a chain. `caller`: the oid of the object whose method sent it, if one did.
    `rights`: those it was sent with, without `policy` where a method on the way had it not; `limits`: those of its sender, `principal`.
    `policy`: the method shall have it.
    """

    key: str
    receiver: bytes
    selector: str
    asked_at: float
    parents: list[bytes] = []
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    positional: int = 0
    examples: list[Any] = []
    overlay: dict[bytes, bytes] = {}
    reified: dict[str, Any] = {}
    plan: Any = None
    depth: int = 0
    offered: str | None = None
    author: str = ""
    here: bool = False
    caller: bytes = b""
    principal: str = ""
    session: str = ""
    seq: int = 0
    rights: frozenset[Right] = frozenset()
    limits: Limits = Limits()
    policy: bool = False

    @property
    def alone(self) -> bool:
        """Whether its method is for its object alone, also where that has one which it shares with others."""
        return self.offered is None or self.here or self.policy


def offered(
    request: CreateMethod,
    key: str,
    receiver: bytes,
    asked_at: float,
    rights: frozenset[Right] = ALL,
    limits: Limits | None = None,
    principal: str = "",
) -> MethodRequest:
    """The request that a tool's offer makes: audit, trial and installation on the object that it names."""
    first = request.examples[0] if request.examples else None
    method = parse(request.source, request.selector).method
    # Where the source is no function, the audit says so; the count then does not matter.
    required = len(method.args.args) - 1 - len(method.args.defaults) if method is not None else 0
    return MethodRequest(
        key=key,
        receiver=receiver,
        selector=request.selector,
        asked_at=asked_at,
        args=list(first.args) if first is not None else [],
        kwargs=dict(first.kwargs) if first is not None else {},
        positional=max(0, required),
        examples=list(request.examples),
        reified={"call": request.selector, "signature": "", "positional": [], "slots": [], "examples": []},
        offered=request.source,
        author="tool",
        principal=principal,
        session=request.session,
        seq=request.seq,
        rights=rights,
        limits=limits or Limits(),
        policy=request.policy,
        here=request.here,
    )
