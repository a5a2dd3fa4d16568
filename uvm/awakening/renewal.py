"""What an image must have of the kernel's own, and bringing one that an earlier version made up to date.

Everything is told from the image itself, so renewing is the same for every older version, and does nothing the second time. A new
primitive needs no more than its entry in a table of `uvm.runtime.primitives`, a new kernel table its name in `uvm.image.image`, and
policy that has become better its new source in `uvm.primordial`, or its numbers (`uvm.image.judgement`): the next awakening brings
them, in its one transaction, and the full text for larger models (`uvm.image.prompts`) where the image has none. Policy that a message
has replaced stays as it is, and so does an earlier version that an undo has put back.
"""

from collections.abc import Iterator

from uvm.autotelic import ledger
from uvm.autotelic import policy as autotelic
from uvm.image import authors, codex, judgement, model_registry, prompts, tables
from uvm.image.image import KERNEL_ROOTS, Image
from uvm.image.message_object import is_method
from uvm.image.methods import BORN, DECLINED, install, is_born, method, primitive
from uvm.language.audit import audit
from uvm.objects import ABSENT, UvmObject
from uvm.runtime.primitives import GENESIS, MESSAGES, PLLM, TRAITS
from uvm.runtime.wishing import UPGRADES
from uvm.wishes import book
from uvm.wishes import policy as wishes

BROUGHT = frozenset({autotelic.NAME, wishes.NAME})
"""Primordial objects that a renewal brings to an image which was born without them; they are no part of who it is. A version that brings
another one names it here."""
_SHOWN = {"objects": "[<object>, …]"}
"""Primitives that stand where data stood; what a prompt shows of them."""


def kernel_slots(image: Image) -> Iterator[tuple[UvmObject, str]]:
    """Each primitive's holder and selector. Raises NoSuchObject or KeyError where a holder is gone."""
    yield from ((image.named("traits_obj"), selector) for selector in TRAITS)
    yield from ((image.named("pLLM_obj"), selector) for selector in PLLM)
    yield from ((image.named("genesis_obj"), selector) for selector in GENESIS)
    yield from ((image.root["message_traits"], selector) for selector in MESSAGES)
    if (upgrade := book.holder(image)) is not None:
        yield from ((upgrade, selector) for selector in UPGRADES)


def policy(image: Image) -> Iterator[tuple[UvmObject, UvmObject]]:
    """Each policy method as this version has it, and its holder. Raises NoSuchObject where a holder is gone."""
    for name in ("traits_obj", "pLLM_obj"):
        for source in sorted((codex.PRIMORDIAL / name).iterdir(), key=lambda path: path.name):
            yield image.named(name), _policy_method(source.name.removesuffix(".method"), source.read_text())


def _policy_method(selector: str, source: str) -> UvmObject:
    positional = 1 if selector.endswith("_") else 0
    verdict = audit(source, selector, positional, [], None)
    if not verdict.ok:
        raise RuntimeError(f"the primordial method {selector} fails the audit: {[finding.message for finding in verdict.findings]}")
    findings = [finding.message for finding in verdict.findings]
    return method(selector, verdict.source, positional, BORN, {"audit": findings}, policy=True)


def _is_to_be(current: object, newer: UvmObject) -> bool:
    """Whether a policy method takes the place of what is held in its slot: of nothing, or of what an earlier version was born with.

    Not of what somebody has put back in its place: that stands until the kernel has another one, or somebody decides otherwise.
    """
    if not isinstance(current, UvmObject) or not is_method(current):
        return True
    digest = newer.own("digest")
    return is_born(current) and current.own("digest") != digest and digest not in current.own(DECLINED, [])


def has_primitive(holder: UvmObject, selector: str) -> bool:
    """Whether the slot holds the kernel's own method."""
    value = holder.own(selector)
    return type(value) is UvmObject and value.own("primitive") == selector


def renew(image: Image) -> list[str]:
    """Add what the image lacks, in the current transaction; returns the names of that. Nothing is written when nothing is lacking.

    A model or an adapter that somebody uses is kept under its digest from then on: images of earlier versions have no tables of them.
    """
    added: list[str] = []
    for name in KERNEL_ROOTS:
        if name not in image.root:
            image.root[name] = tables.new(name)
            added.append(name)
    if "authors" in added:
        authors.gather(image)
    for holder, newer in policy(image):
        selector = newer.own("selector")
        if _is_to_be(holder.own(selector), newer):
            install(holder, newer)
            added.append(selector)
    if ledger.ensure(image):
        added.append(autotelic.NAME)
    if book.ensure(image):
        added.append(wishes.NAME)
    if judgement.follow(image, image.named("pLLM_obj")):
        added.append(judgement.SLOT)
    if image.named(prompts.MIND).own(prompts.FULL) is ABSENT:
        image.named(prompts.MIND).put(prompts.FULL, (codex.PRIMORDIAL / f"{prompts.FULL}.txt").read_text().rstrip("\n"))
        added.append(prompts.FULL)
    for holder, selector in kernel_slots(image):
        if not has_primitive(holder, selector):
            install(holder, primitive(selector, _SHOWN.get(selector, "")))
            added.append(selector)
    return added + [digest[:12] for digest in model_registry.gather(image)]
