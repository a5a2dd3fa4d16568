"""A method that a message cannot go on without: what was sent to whom. Wire values and records only; pure.

`uvm.generation.misses` makes one out of a miss, `offered` out of what a tool offers.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from uvm.language.syntax import parse
from uvm.protocol import CreateMethod, Example
from uvm.rights import ALL, Limits, Right
from uvm.values.examples import Clause


class MethodRequest(Struct, frozen=True, kw_only=True):
    """A message whose method is to be written, is offered by a tool, or is to be tested.

    `receiver`: its oid; `parents`: the oids of its parents; `overlay`: records of what the attempt had changed or made. `reified`: the
    slots of the message object in plain values; `covenant`: the first paragraph that it was handed. `plan`: what `reflectOn_` asked for.
    `asked_at`: arrival, seconds since the epoch.
    `clauses`: the examples that the method has to satisfy, the sender's first; `raises`: the type of the error in which the message is to
    end, as one of them says; `send` false: the message itself is not tried, the examples are.
    `offered`: the source that a tool offers in place of drafts; `here`: for its object alone. `depth`: how many messages wait for this
    one, in a chain. `caller`: the oid of the object whose method sent it, if one did.
    `rights`: those it was sent with, without `policy` where a method on the way had it not; `limits`: those of its sender, `principal`.
    `policy`: the method shall have it. `step`: which send of its message it is.

    `tested`: the oid of the method that is there and is tested; if it does not hold it may be written again (`rewritable`), and if it
    does it `keeps` the examples. `replaces`: the oid of the method that has failed such a test; `home`: the object that has it.
    `version`: the digest of the source of either, then.
    `preview`: the method is shown, and not installed. `risk`: that the sender takes of what is installed being wrong; 0: the image's.
    `still`: it may change nothing where it comes to stand, since no more than a draft for another object's message needs it.
    `answers`: what is tested is not a method of that selector, but what this object (a reference in text) does with messages that nothing
    understands.
    """

    key: str
    receiver: bytes
    selector: str
    asked_at: float
    parents: list[bytes] = []
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    positional: int = 0
    clauses: list[Clause] = []
    raises: str = ""
    send: bool = True
    overlay: dict[bytes, bytes] = {}
    reified: dict[str, Any] = {}
    covenant: str = ""
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
    step: int = 0
    tested: bytes = b""
    rewritable: bool = False
    keeps: bool = False
    replaces: bytes = b""
    version: str = ""
    home: bytes = b""
    preview: bool = False
    risk: float = 0.0
    still: bool = False
    answers: str = ""

    @property
    def examples(self) -> list[Example]:
        """The examples, each in its state."""
        return [clause.whole for clause in self.clauses]

    @property
    def alone(self) -> bool:
        """Whether its method is for its object alone, also where that has one which it shares with others."""
        return (self.offered is None and not self.replaces) or self.here or self.policy


def offered(
    request: CreateMethod,
    key: str,
    receiver: bytes,
    asked_at: float,
    rights: frozenset[Right] = ALL,
    limits: Limits | None = None,
    principal: str = "",
    clauses: Sequence[Clause] = (),
) -> MethodRequest:
    """The request that a tool's offer makes: audit, trial and installation on the object that it names."""
    # An offer has the arguments of an example alone.
    first = next((clause.example for clause in clauses if not clause.example.slots and not clause.example.raises), None)
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
        clauses=list(clauses),
        raises=expected_error(clauses, [], {}),
        send=first is not None or required <= 0,
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


def expected_error(clauses: Sequence[Clause], args: list[Any], kwargs: dict[str, Any]) -> str:
    """The type of the error in which a message with these arguments is to end, on the receiver as it is; empty if no example says so."""
    expected = (clause.example for clause in clauses if clause.example.raises and not clause.example.slots and not clause.number)
    return next((str(example.raises) for example in expected if example.args == args and example.kwargs == kwargs), "")
