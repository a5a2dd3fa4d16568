"""`python -m ui_client.proving`: messages that a service must answer before it may be trusted with the image, sent by one client.

Run by the upgrader on a copy of the image, with the environment that is to be proved. It reads from stdin, as JSON, a list of messages
that must have a result, `{"target", "selector", "result"}`. It ends with 0 when everything was answered as it must be, with 1 and the
reason on stderr when not; what it left out, and why, is on stdout. It makes objects, offers a method, and has one written: for use on a
copy, and nowhere else.
"""

import argparse
import json
import sys
import time
from typing import Any, Literal, get_args

from deploy import settings
from ui_client import values
from ui_client.client.client import Client
from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError, RemoteError

_SOURCE = "def upgradeProof_(self, a):\n    return a + 1\n"
_AGAIN_S = 0.2
_JUDGED = frozenset({"Refused", "Declined", "TrialFailed", "AuditRefused"})
"""Refusals that come after drafts were written and judged: of an engine, no more is asked than that it writes."""

WrittenBy = Literal["", "script", "engine"]


class NotAnswered(Exception):
    """A message was not answered as it must be; the message says which."""


def prove(client: Client, expected: list[dict[str, Any]], seconds: float, written_by: WrittenBy = "") -> str:
    """Send all of it; what was left out, in words. `written_by`: who writes a missing method; empty: none is sent.

    Raises NotAnswered, ClientError.
    """
    _await(client, seconds)
    clone = client.send("genesis_obj", "clone", deadline=seconds)
    client.create_method(clone, "upgradeProof_", _SOURCE, examples=[{"args": [2], "result": 3}], deadline=seconds)
    _expect(client.send(clone, "upgradeProof_", 41, deadline=seconds), 42, "the method that was offered")
    for each in expected:
        answer = client.send(each["target"], each["selector"], deadline=seconds)
        _expect(values.to_json(answer), each["result"], f"{each['target']} {each['selector']}")
    return _miss(client, seconds, written_by) if written_by else ""


def _miss(client: Client, seconds: float, written_by: WrittenBy) -> str:
    """Send what nothing understands. From a script the method must come; an engine may write what is refused."""
    if not client.send("pLLM_obj", "mirror_", "respondsTo_", "model", deadline=seconds):
        return "the image has no model: no method was written"
    clone = client.send("genesis_obj", "clone", deadline=seconds)
    client.send(clone, "setSlot_value_", "proofPrice", 4, deadline=seconds)
    try:
        answer = client.send(clone, "doubleProofPrice", deadline=seconds, examples=[{"result": 8}], risk=1.0)
    except RemoteError as error:
        if error.type == "GenerationOff":
            return f"no method was written: {error.message}"
        if written_by == "engine" and error.type in _JUDGED:
            return f"the engine wrote, and what it wrote was refused: {error.message}"
        raise NotAnswered(f"a missing method was not written: {error}") from error
    _expect(answer, 8, "the method that was written")
    return ""


def _await(client: Client, seconds: float) -> None:
    """Wait for the bridge and a UVM."""
    until = time.monotonic() + seconds
    while True:
        try:
            if client.status()["uvms"]:
                return
        except (BridgeUnreachable, BridgeBusy):
            pass
        if time.monotonic() > until:
            raise NotAnswered(f"no UVM was there within {seconds:.0f} s")
        time.sleep(_AGAIN_S)


def _expect(answer: Any, result: Any, what: str) -> None:
    if answer != result:
        raise NotAnswered(f"{what} is {answer!r:.400}, and must be {result!r:.400}")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Send what a service must be able to answer; on a copy of an image only.")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest each of it may take")
    parser.add_argument("--written-by", choices=get_args(WrittenBy), default="", help="who writes a missing method; empty: none is missed")
    options = parser.parse_args()
    seconds = options.seconds
    try:
        with Client(configuration=settings.load(), connect_timeout=seconds) as client:
            left_out = prove(client, json.loads(sys.stdin.read() or "[]"), seconds, options.written_by)
        sys.stdout.write(f"{left_out}\n" if left_out else "")
    except (NotAnswered, ClientError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
