"""A UVM that plays one missing method: `python -m tests.ui_client.commands.scripted_uvm NAME`, with BATOS_HOME set.

Over the fake of the bridge's tests it understands what the commands ask an image: `display_yourself` on an object named
`genesis_obj` is missing at first, its way is published step by step, and from then on it is there, with its proof. `stubborn` is
always refused; `slow` answers after its argument in seconds.
"""

import sys
from typing import Any

from tests.uvm.bridge.fake_uvm import FakeUvm
from uvm.bridge import protocol as wire
from uvm.protocol import (
    TOPIC_PROGRESS,
    Error,
    GetFullState,
    Inspect,
    ObjectState,
    Progress,
    Reference,
    Reply,
    Send,
    State,
    decode_request,
    encode,
)

GENESIS = Reference.parse("@2a")
ITEM = Reference.parse("@2b")
MESSAGE = Reference.parse("@77")
SOURCE = "def display_yourself(self):\n    return column(label(self.name), field('born', self.born))\n"
SLOTS = {"name": "genesis_obj", "born": "2026-11-23T03:00:00Z", "objects": [ITEM]}
STEPS = ("reified", "reflected", "drafted", "audited", "tried")


def face() -> dict[str, Any]:
    children = [{"morph": "label", "text": "genesis_obj"}, {"morph": "field", "name": "born", "value": SLOTS["born"], "target": GENESIS}]
    return {"morph": "column", "children": children}


def explanation(selector: str) -> dict[str, Any]:
    drafts = [{"source": SOURCE, "findings": [], "outcome": "chosen", "logprob": -0.25}]
    proof = {
        "prompt": "Write the body",
        "drafts": drafts,
        "audit": [],
        "trial": "passed",
        "model": "m",
        "adapter": "a",
        "seed": 1,
        "mode": "grammar",
    }
    return {
        "selector": selector,
        "source": SOURCE,
        "author": "brick",
        "digest": "ab" * 32,
        "installed_on": GENESIS,
        "proof": proof,
        "history": [],
    }


class ScriptedUvm(FakeUvm):
    """The fake, which knows one object more."""

    def carry_out(self, delivery: wire.Deliver) -> None:
        request = decode_request(delivery.payload)
        match request:
            case Inspect():
                self._answer(delivery, Reply(request.id, {"inherited": {}, **_fields(self._object(request.target))}))
            case GetFullState():
                objects = [self._object("genesis_obj"), ObjectState(ITEM, [], {"price": 3}, [GENESIS], {})]
                self._answer(delivery, State(request.id, (7).to_bytes(8), objects, b""))
            case _:
                super().carry_out(delivery)

    def sent(self, delivery: wire.Deliver, request: Send) -> None:
        match request.selector:
            case "mirror_" if request.args[0] == "respondsTo_":
                self._answer(delivery, Reply(request.id, self._knows_face()))
            case "mirror_" if request.args[0] == "explain_":
                self._answer(delivery, Reply(request.id, explanation(request.args[1])))
            case "display_yourself":
                if not self._knows_face():
                    self._play(request, "installed")
                    self.first("face")
                self._answer(delivery, Reply(request.id, face()))
            case "stubborn":
                self._play(request, "refused")
                details = {"reasons": ["draft 1: no such slot"]}
                self._answer(delivery, Error(request.id, "Refused", "no draft was good enough", "add an example", details))
            case "raw":
                self._answer(delivery, Reply(request.id, {"ref": ITEM, "bytes": b"\x00\x01", "nan": float("nan"), "text": "\x1b[2J"}))
            case _:
                super().sent(delivery, request)

    def _knows_face(self) -> bool:
        return bool(self.database.execute("select count(*) from flags where name = 'face'").fetchone()[0])

    def _object(self, target: Any) -> ObjectState:
        if target in ("genesis_obj", GENESIS):
            methods = {"display_yourself": MESSAGE} if self._knows_face() else {}
            return ObjectState(GENESIS, ["genesis_obj"], SLOTS, [], methods)
        if target == "heartbeat_obj":
            return ObjectState(Reference.parse("@3"), ["heartbeat_obj"], {"last": {"selectors": 1.5}}, [], {})
        return ObjectState(ITEM, [], {"price": 3}, [GENESIS], {})

    def _play(self, request: Send, end: str) -> None:
        for stage in (*STEPS, end):
            detail: dict[str, Any] = {"drafts": 4, "persona": "brick"} if stage == "drafted" else {}
            event = Progress(MESSAGE, request.selector, GENESIS, stage, detail)
            self.say(wire.Publish(TOPIC_PROGRESS, encode(event)))

    def _answer(self, delivery: wire.Deliver, answer: Reply | Error | State) -> None:
        self.say(wire.Done(delivery.delivery, encode(answer)))


def _fields(state: ObjectState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__struct_fields__ if name != "inherited"}


if __name__ == "__main__":
    ScriptedUvm(sys.argv[1]).run()
