"""The bridge's own errors, each with what was seen and what the tool can do. Pure; called by the bridge and its dispatch.

`details["outcome"]` is `not run` when no UVM has run the message, and `unknown` when one may have; every other error means
that nothing changed.
"""

from uvm.protocol import VERSION, Error


def mismatch(id: int) -> Error:
    return Error(id, "PayloadMismatch", "this session and number are in use for another message", "use a new sequence number")


def poisoned(id: int, deaths: int) -> Error:
    return Error(
        id,
        "Poisoned",
        f"{deaths} UVMs died while they ran this message; it is not tried again",
        "look at the log of the UVMs; send another message, under a new number",
        {"deaths": deaths, "outcome": "unknown"},
    )


def outcome_unknown(id: int) -> Error:
    return Error(
        id,
        "OutcomeUnknown",
        "the UVM died while it ran this message, and without a session it cannot be sent again",
        "look at the object, or send with a session",
        {"outcome": "unknown"},
    )


def deadline_exceeded(id: int, outcome: str) -> Error:
    where = "no UVM has run it" if outcome == "not run" else "a UVM has it, and may still finish it"
    remedy = "send it again with the same number and more time"
    return Error(id, "DeadlineExceeded", f"the deadline passed; {where}", remedy, {"outcome": outcome})


def no_such_uvm(id: int, via: str, names: list[str], outcome: str) -> Error:
    seen = ", ".join(names) or "none"
    remedy = "leave out via, or name a UVM that is alive"
    return Error(id, "NoSuchUvm", f"no UVM named {via} is alive; alive: {seen}", remedy, {"outcome": outcome})


def cancelled(id: int) -> Error:
    message = "the message was cancelled before a UVM had it"
    return Error(id, "Cancelled", message, "nothing changed; send another one", {"outcome": "not run"})


def over_quota(id: int, quota: str, seen: str, allowed: str) -> Error:
    remedy = f"send less at once, or have quotas.{quota} raised"
    return Error(id, "QuotaExceeded", f"{quota}: {seen}; {allowed} is allowed", remedy, {"quota": quota, "outcome": "not run"})


def not_allowed(id: int, principal: str, right: str) -> Error:
    remedy = "use a key with this right, or have it given: batos keys add --rights"
    message = f"{principal} has not the right {right}, which this message needs"
    return Error(id, "NotAllowed", message, remedy, {"right": right, "outcome": "not run"})


def principal_gone(id: int, principal: str, outcome: str) -> Error:
    message = f"{principal} is no principal of this service any more; its message was waiting"
    return Error(id, "NotAllowed", message, "ask whoever administers the service for a key", {"outcome": outcome})


def bad_request(id: int, reason: str) -> Error:
    details = {} if id else {"malformed": True}
    return Error(id, "BadRequest", f"not a message of protocol {VERSION}: {reason}", "see docs/protocol.md", details)


def too_large(id: int, size: int, allowed: int) -> Error:
    remedy = "send less at once, or raise bridge.max_frame_bytes"
    return Error(id, "TooLarge", f"the message has {size} bytes; {allowed} are allowed", remedy)


def version_mismatch(id: int, versions: list[int]) -> Error:
    message = f"none of the versions {versions} is spoken here"
    return Error(id, "VersionMismatch", message, "speak one of details.versions", {"versions": [VERSION]})


def unreadable_answer(id: int) -> Error:
    message = "the UVM's answer cannot be read; that is a fault of ours"
    return Error(id, "InternalError", message, "look at the bridge's log", {"outcome": "unknown"})
