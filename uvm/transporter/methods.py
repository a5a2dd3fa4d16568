"""Methods on their way out and in. What a document says of a method's past is a claim, and stays one.

A method comes in through the audit, as whatever is offered does, with the rights of who imports it. It is not tried: its trial was
elsewhere, and what the document tells of it cannot be checked. So an imported method's author is `import`, its proof has the mode
`imported` and says by whom, when and out of which image, and the proof that came with it is kept under `claimed`, where nobody takes it
for one.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from uvm.errors import BadExport, NotAllowed
from uvm.image import authors, contract, revocations
from uvm.image.image import Image
from uvm.image.large import loaded, stored
from uvm.image.methods import IMPORTED, is_imported, method, quarantine, quarantined, revoke
from uvm.language.audit import audit
from uvm.language.syntax import parse
from uvm.objects import UvmObject, same_value
from uvm.protocol import MethodDocument
from uvm.rights import Right
from uvm.values.tagged import Find, tagged, untagged

AUTHOR: Final = "import"
HOPS: Final = 16
"""Imports that a method remembers, the newest ones."""
EXAMPLES: Final = "examples"
"""The slot with the examples that a method has to satisfy."""


class Importing(Struct, frozen=True):
    """Who imports, when, out of which image, and as of which of its transactions."""

    principal: str
    session: str
    rights: frozenset[Right]
    at: float
    image: str
    tid: bytes


def documented(behaviour: UvmObject, tag: Callable[[Any], dict[str, Any]]) -> MethodDocument:
    """A method as its document says it; one that was imported as the document that it came in said."""
    proof = behaviour.own("proof", None)
    author, born, imports = behaviour.own("author", ""), behaviour.own("born", ""), []
    if is_imported(behaviour) and isinstance(proof, dict):
        claimed = proof["claimed"]
        author, born, imports, proof = claimed["author"], claimed["born"], proof["imports"], claimed["proof"]
    return MethodDocument(
        selector=behaviour.own("selector"),
        source=behaviour.own("source"),
        positional=len(behaviour.own("positional")),
        policy=behaviour.own("policy") is True,
        author=author,
        born=born,
        imports=[tagged(hop, tag) for hop in imports],
        proof=tagged(proof, tag),
        examples=tagged(examples_of(behaviour), tag),
        quarantined=quarantined(behaviour),
    )


def imported(image: Image, document: MethodDocument, by: Importing, find: Find) -> tuple[UvmObject | None, list[str]]:
    """The method, or none, and what the audit found. Raises NotAllowed for want of a right, BadExport for a document that is none."""
    if document.policy and "policy" not in by.rights:
        raise NotAllowed(
            f"{document.selector} may change primordial objects, and is imported with the right `policy` alone",
            "import it with that right, or take `policy` out of its file",
        )
    tree = parse(document.source, document.selector).method
    names = [argument.arg for argument in tree.args.args[1:]] if tree is not None else []
    if document.positional > len(names) and tree is not None:
        raise BadExport(f"{document.selector} has {len(names)} parameters, of which {document.positional} cannot be given by place")
    audited = audit(document.source, document.selector, document.positional, names[document.positional :], None)
    findings = [f"line {finding.line}: {finding.message}" if finding.line else finding.message for finding in audited.findings]
    if not audited.ok:
        return None, findings
    hop = {"image": by.image, "tid": by.tid.hex(), "by": by.principal, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(by.at))}
    proof = {
        "mode": IMPORTED,
        "principal": by.principal,
        "session": by.session,
        "audit": findings,
        "trial": "not tried in this image",
        "imports": [*(untagged(earlier, find) for earlier in document.imports), hop][-HOPS:],
        "claimed": {"author": document.author, "born": document.born, "proof": untagged(document.proof, find)},
    }
    behaviour = method(document.selector, audited.source, document.positional, AUTHOR, proof, document.policy)
    for author in authors.authors_of(behaviour):
        if record := revocations.find(image, author):
            revoke(behaviour, {**record, "author": author.key})
            findings = [*findings, f"out of use here: the {author.kind} {author.name} was revoked"]
    if document.examples is not None:
        behaviour.put(EXAMPLES, stored(untagged(document.examples, find)))
    if document.quarantined and not quarantined(behaviour):
        quarantine(behaviour, document.quarantined)
    return behaviour, findings


def examples_of(behaviour: UvmObject) -> Any:
    """The examples that a method keeps, or nothing."""
    return contract.portable(loaded(behaviour.own(EXAMPLES, None)))


def same(behaviour: UvmObject, document: MethodDocument, find: Find) -> bool:
    """Whether the image has this very method: then its own proof of it is worth more than the document's."""
    return (
        behaviour.own("source") == document.source
        and behaviour.own("selector") == document.selector
        and len(behaviour.own("positional", [])) == document.positional
        and (behaviour.own("policy") is True) == document.policy
        and quarantined(behaviour) == document.quarantined
        and same_value(examples_of(behaviour), untagged(document.examples, find))
    )
