"""The audit of installed methods, once more: when the policy of the language is another one than the image was audited under.

Run by the awakening, after its own transaction. Methods that no longer pass are put out of use (`uvm.image.methods.quarantine`) with
what the audit found; those that an earlier audit put out of use, and this one lets pass, come back. First all methods are read, in steps
after which the cache is trimmed; each source is judged once. Then the marks are made, `MARKED` a transaction, and the version is recorded
last, as `policy` of the image's root: whoever is killed in between does it again at the next awakening.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from transaction.interfaces import TransientError

from uvm.errors import DamagedRecord
from uvm.history import chronicle
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import quarantine, quarantined, release
from uvm.image.queries import reachable
from uvm.image.transactor import TRIES, back_off
from uvm.language.audit import audit
from uvm.language.compiler import POLICY
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import Reference

MARKED: Final = 100
"""Methods that one transaction marks."""
TRIMMED: Final = 1000
"""Objects read between two trimmings of the cache."""
TOLD_EVERY_S: Final = 1.0
AUDIT: Final = "audit: "
"""How the reasons begin that an audit gave."""

Report = Callable[[str, str, bool], None]


def audit_again(image: Image, report: Report) -> int:
    """Audit every method if the policy has changed; how many are out of use because of it. Transactions of its own."""
    image.manager.begin()
    try:
        if image.root.get("policy") == POLICY:
            return 0
        verdicts = _verdicts(image, report)
    finally:
        image.manager.abort()
    marks = sorted(verdicts.items())
    for start in range(0, len(marks), MARKED):
        _commit(image, partial(_mark, image, dict(marks[start : start + MARKED])))
    _commit(image, partial(_record, image))
    failing = sum(bool(reason) for reason in verdicts.values())
    report("methods audited again", f"policy {POLICY}; {failing} put out of use, {len(verdicts) - failing} back in use", True)
    return failing


def finding(method: UvmObject) -> str:
    """Why a method does not pass the audit; nothing if it does."""
    try:
        verdict = audit(method.own("source"), method.own("selector"), len(method.own("positional")), method.own("keywords"))
    except (AttributeError, TypeError) as error:  # what stands in the image may be anything
        return f"{AUDIT}it is no method of the language ({type(error).__name__})"
    if verdict.ok:
        return ""
    first = verdict.findings[0]
    return f"{AUDIT}{f'line {first.line}: ' if first.line else ''}{first.message}"


def _verdicts(image: Image, report: Report) -> dict[bytes, str]:
    """The methods whose mark has to change: the reason to be put out of use, or nothing to come back."""
    judged: dict[tuple[str, str], str] = {}
    verdicts: dict[bytes, str] = {}
    looked, told_at = 0, time.monotonic() + TOLD_EVERY_S
    for looked, method in enumerate(_methods(image), 1):
        key = str(method.own("selector")), str(method.own("source"))
        if key not in judged:
            judged[key] = finding(method)
        reason, before = judged[key], quarantined(method)
        if reason != before and (reason or before.startswith(AUDIT)):
            verdicts[method._p_oid] = reason
        if time.monotonic() > told_at:
            told_at = time.monotonic() + TOLD_EVERY_S
            report("auditing methods", f"{looked:,} so far, {len(verdicts)} to be marked", False)
    return verdicts


def _methods(image: Image) -> Iterator[UvmObject]:
    """Every method with a source: in the slots of objects, and in the library."""
    visited: set[bytes] = set()
    for number, owner in enumerate(_owners(image)):
        for value in owner._slots.values():
            if _has_source(value) and value._p_oid not in visited:
                visited.add(value._p_oid)
                yield value
        if number % TRIMMED == TRIMMED - 1:
            image.connection.cacheGC()


def _owners(image: Image) -> Iterator[UvmObject]:
    yield image.root["message_traits"]
    yield from reachable(image.names.values(), [])
    yield from image.shards("library")


def _has_source(value: object) -> bool:
    try:
        return type(value) is UvmObject and is_method(value) and value.own("source") is not ABSENT
    except DamagedRecord:
        return False  # whoever sends it is told


def _mark(image: Image, verdicts: dict[bytes, str]) -> None:
    for oid, reason in verdicts.items():
        method = image.at(Reference(oid))
        if reason:
            quarantine(method, reason)
        else:
            release(method)
        facts = {"policy": POLICY, "why": reason}
        kind: chronicle.Kind = "quarantine" if reason else "release"
        chronicle.record(image, kind, author="awakening", cause="audit", slot=method.own("selector"), method=method, facts=facts)


def _record(image: Image) -> None:
    image.root["policy"] = POLICY


def _commit(image: Image, step: Callable[[], None]) -> None:
    for tried in range(1, TRIES + 1):
        image.manager.begin()
        try:
            step()
            image.manager.commit()
            return
        except TransientError:
            image.manager.abort()
            if tried == TRIES:
                raise
            back_off(tried)
        except BaseException:
            image.manager.abort()
            raise
