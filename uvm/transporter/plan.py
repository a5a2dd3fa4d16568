"""Everything about an import that is decided before anything is changed: what comes in, under which names, and what it refers to.

Reads only; the new objects of a plan are in memory alone. So an import that cannot be carried out as a whole has changed nothing. What is
wrong is said for all objects at once, not for the first alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from ZODB.blob import Blob

from uvm.errors import AuditRefused, BadArguments, BadExport, ImageError, MissingReference, NotAllowed
from uvm.image import authors, model_registry, revocations
from uvm.image.image import Image
from uvm.image.message_object import MIRROR, is_method, is_object_name, is_word
from uvm.objects import KIND, UvmObject
from uvm.protocol import Bundle, ObjectDocument, Reference, decode_document
from uvm.runtime.authority import check_weights
from uvm.transporter import lineage, methods
from uvm.transporter.methods import Importing
from uvm.transporter.origin import image_id, primordial_methods, primordial_objects
from uvm.transporter.parts import reached, referents
from uvm.values.tagged import untagged

LISTED: Final = 100
"""Of what is missing, taken, or refused, so many are said; how many there are is said as well."""
DOCUMENT_BYTES: Final = 64_000_000


class Arrival(Struct):
    """One object that comes in. `object`: a new one, or the one of that name that becomes it. `names`: those it is to have."""

    key: str
    names: list[str]
    object: UvmObject
    new: bool
    parents: list[UvmObject] = []
    slots: dict[str, Any] = {}


class Behaviour(Struct, frozen=True):
    """One method that comes in: where, whose it is said to be, and what the audit found. `kept`: the image has it already."""

    on: str
    selector: str
    author: str
    policy: bool
    findings: list[str]
    kept: bool = False


class ImportPlan(Struct):
    """`arrivals`: what comes in. `left_out`: keys of what nothing that comes in refers to. `roots`: new objects without a name that were
    exported for themselves. `used`: models and adapters that something refers to."""

    arrivals: list[Arrival]
    behaviours: list[Behaviour]
    left_out: list[str]
    roots: list[UvmObject]
    used: list[UvmObject]


class ImportOptions(Struct, frozen=True):
    """`rename`: exported name → another one. `replace`: an object that has the name of an exported one becomes what that was."""

    rename: Mapping[str, str] = {}
    replace: bool = False


def plan_of(
    image: Image, bundle: Bundle, by: Importing, options: ImportOptions, blob: Callable[[str], Blob | None], alive: Callable[[], None]
) -> ImportPlan:
    """The plan. Raises BadExport, BadArguments, NotAllowed, AuditRefused, MissingReference, ParentCycle, Revoked.

    `blob`: the file of a digest, or none.
    """
    return _Planning(image, bundle, by, options, blob, alive).plan()


class _Planning:
    def __init__(
        self,
        image: Image,
        bundle: Bundle,
        by: Importing,
        options: ImportOptions,
        blob: Callable[[str], Blob | None],
        alive: Callable[[], None],
    ) -> None:
        self._image = image
        self._bundle = bundle
        self._by = by
        self._rename = options.rename
        self._replace = options.replace
        self._blob = blob
        self._alive = alive
        self._arrivals: dict[str, Arrival] = {}
        self._documents: dict[str, ObjectDocument] = {}
        self._methods: dict[tuple[str, str], UvmObject] = {}
        self._behaviours: list[Behaviour] = []
        self._blobs: dict[str, Blob] = {}
        self._used: dict[bytes, UvmObject] = {}
        self._missing: dict[tuple[str, str], None] = {}
        self._here = ""
        self._trusted = False
        self._primordial = primordial_objects(image)
        self._primordial_methods = primordial_methods(self._primordial)
        self._same_image = bundle.image == image_id(image)

    def plan(self) -> ImportPlan:
        for number, encoded in enumerate(self._bundle.objects):
            self._alive()
            document = _document(number, encoded)
            if self._documents.setdefault(document.key, document) is not document:
                raise BadExport(f"{document.key!r:.100} is exported twice", "keep one of them", object=document.key)
        self._meet_names()
        self._take_methods()
        for key, document in self._documents.items():
            self._alive()
            self._here = key
            arrival = self._arrivals[key]
            arrival.parents = [self._parent(tree) for tree in document.parents]
            for slot, tree in document.slots.items():
                arrival.slots[slot] = self._slot(slot, tree)
        if self._missing:
            self._report_missing()
        roots = [self._arrivals[key] for key in self._bundle.roots if key in self._arrivals]
        arriving = self._reached([*roots, *(arrival for arrival in self._arrivals.values() if arrival.names)])
        lineage.check((arrival.key, arrival.object, arrival.parents) for arrival in arriving)
        return ImportPlan(
            arrivals=arriving,
            behaviours=self._behaviours,
            left_out=sorted(set(self._arrivals) - {arrival.key for arrival in arriving}),
            roots=[root.object for root in roots if root.new and not root.names],
            used=list(self._used.values()),
        )

    # --- names -------------------------------------------------------------------------------------------------------

    def _meet_names(self) -> None:
        exported = {name for document in self._documents.values() for name in document.names}
        if strange := [name for name in self._rename if name not in exported]:
            raise BadArguments(
                f"nothing in the export is named {strange[0]!r:.100}", f"it has {', '.join(sorted(exported)[:8]) or 'no names'}"
            )
        owner: dict[str, str] = {}
        taken_names: dict[str, None] = {}
        for key, document in self._documents.items():
            names = [self._rename.get(name, name) for name in document.names]
            for name in names:
                if not is_object_name(name) or name in self._primordial:
                    raise NotAllowed(f"{name!r:.100} cannot name an imported object", "choose another name: batos import --as OLD=NEW")
                if owner.setdefault(name, key) != key:
                    raise BadExport(f"{owner[name]!r:.100} and {key!r:.100} have the same name {name!r:.100}", object=key)
            bearers = [bearer for name in names if type(bearer := self._image.names.get(name)) is UvmObject]
            if bearers and not self._replace:
                taken_names.update(dict.fromkeys(name for name in names if name in self._image.names))
            elif len(dict.fromkeys(map(id, bearers))) > 1 or any(map(self._image.is_primordial, bearers)):
                raise NotAllowed(
                    f"the names of {key!r:.100} are those of several objects here, or of the image's own",
                    "give it others: batos import --as OLD=NEW",
                )
            self._arrivals[key] = Arrival(key, names, bearers[0] if bearers else UvmObject(), not bearers)
        if self._replace and self._same_image:
            self._meet_components()
        if taken_names:
            raise NotAllowed(
                f"{len(taken_names)} names are taken: {', '.join(list(taken_names)[:8])}",
                "choose others (batos import --as OLD=NEW), or let the objects of these names become what was exported (--replace)",
                names=list(taken_names)[:LISTED],
            )

    def _meet_components(self) -> None:
        """Back in the image that it comes from, what has no name becomes what was exported as well, as long as it is a part of what does.

        The reference alone would not do: after a rollback it may have come to mean something else.
        """
        named = [arrival.object for arrival in self._arrivals.values() if not arrival.new]
        for component in reached(named):
            self._alive()
            arrival = self._arrivals.get(str(Reference(component._p_oid)))
            if arrival is not None and arrival.new and not arrival.names and not self._image.is_primordial(component):
                arrival.object, arrival.new = component, False

    # --- methods -----------------------------------------------------------------------------------------------------

    def _take_methods(self) -> None:
        refused: list[dict[str, Any]] = []
        for key, document in self._documents.items():
            arrival = self._arrivals[key]
            here = [] if arrival.new else _methods_of(arrival.object)
            for label, method in document.methods.items():
                self._alive()
                self._here = key
                same = [behaviour for behaviour in here if methods.same(behaviour, method, self._find)]
                same.sort(key=lambda behaviour: behaviour is not arrival.object.own(label))
                if same:
                    mine = self._methods[key, label] = same[0]
                    here = [behaviour for behaviour in here if behaviour is not mine]
                    self._behaviours.append(Behaviour(key, method.selector, str(mine.own("author")), method.policy, [], kept=True))
                    continue
                self._check_importer()
                imported, findings = methods.imported(self._image, method, self._by, self._find)
                if imported is None:
                    refused.append({"object": key, "selector": method.selector, "findings": findings})
                    continue
                self._methods[key, label] = imported
                self._behaviours.append(Behaviour(key, method.selector, method.author, method.policy, findings))
        if refused:
            first = refused[0]
            raise AuditRefused(
                f"{len(refused)} methods are not in the language: {first['selector']} of {first['object']}: {'; '.join(first['findings'])}"[
                    :500
                ],
                "mend their sources (docs/language.md says what a method may say), then import again",
                refused=refused[:LISTED],
            )

    def _check_importer(self) -> None:
        """Whose methods are not trusted any more brings in no others. Raises Revoked."""
        if not self._trusted:
            for author in authors.offering(self._by.principal, self._by.session):
                revocations.check(self._image, author)
            self._trusted = True

    # --- values ------------------------------------------------------------------------------------------------------

    def _slot(self, slot: str, tree: Any) -> Any:
        if not is_word(slot):
            raise BadExport(f"{slot!r:.100} of {self._here} cannot name a slot", object=self._here)
        try:
            value = untagged(tree, self._find)
        except ImageError as error:
            raise type(error)(f"{slot} of {self._here}: {error.message}", error.remedy, object=self._here, slot=slot) from error
        if value is not self._arrivals[self._here].object.own(slot):
            check_weights(self._image, value)
        if slot == MIRROR and value is not self._primordial_methods.get(("traits_obj", MIRROR)):
            raise NotAllowed(f"{MIRROR} of {self._here} is the one word that means the same on every object", "choose another name")
        if is_method(value) and value.own("selector") != slot:
            raise BadExport(
                f"{slot} of {self._here} holds the method {value.own('selector')!s:.100}",
                "a method stands under its selector",
                object=self._here,
            )
        return value

    def _parent(self, tree: Any) -> UvmObject:
        parent = untagged(tree, self._find)
        if type(parent) is not UvmObject:
            raise BadExport(f"a parent of {self._here} is no object", object=self._here)
        if KIND in parent._slots:
            raise NotAllowed(f"a parent of {self._here} is a {parent.own(KIND)} of the image, and nothing delegates to it")
        return parent

    def _find(self, tag: str, content: Any) -> Any:
        """What a value names. What is not there is noted, and something else stands for it until all are known."""
        named = self._looked_up(tag, content)
        if named is None:
            name = content if isinstance(content, str) else ".".join(map(str, content)) if isinstance(content, list) else str(content)
            self._missing[f"{tag} {name}"[:200], self._here] = None
            return _NOBODY
        return named

    def _looked_up(self, tag: str, content: Any) -> Any:
        if tag in ("method", "primordial") and isinstance(content, list) and len(content) == 2:
            key = (str(content[0]), str(content[1]))
            return self._primordial_methods.get(key) if tag == "primordial" else self._methods.get(key)
        if not isinstance(content, str):
            raise BadExport(f"{{{tag!r}: {content!r:.80}}} names nothing", "docs/export.md has the table of tags")
        match tag:
            case "ref" if content in self._arrivals:
                return self._arrivals[content].object
            case "ref":
                bearer = self._image.names.get(content)
                return bearer if type(bearer) is UvmObject else None
            case "primordial":
                return self._primordial.get(content)
            case "message":
                return self._message(content)
            case "model":
                return self._weights("model", content)
            case "adapter":
                return self._weights("adapter", content)
            case "blob":
                if content not in self._blobs and (file := self._blob(content)) is not None:
                    self._blobs[content] = file
                return self._blobs.get(content)
        return None

    def _message(self, text: str) -> UvmObject | None:
        """A message object stays where it is: it is found again in its own image alone."""
        if not self._same_image:
            return None
        try:
            message = self._image.at(Reference.parse(text))
        except (ImageError, ValueError):
            return None
        return message if message.own(KIND) == "message" else None

    def _weights(self, kind: model_registry.Kind, digest: str) -> UvmObject | None:
        """A model or an adapter that the image keeps."""
        proxy = model_registry.at(self._image, kind, digest)
        if proxy is not None:
            self._used[proxy._p_oid] = proxy
        return proxy

    def _report_missing(self) -> None:
        by_name: dict[str, list[str]] = {}
        for name, where in self._missing:
            by_name.setdefault(name, []).append(where)
        listed = "; ".join(
            f"{name} (from {', '.join(where[:3])}{' …' if len(where) > 3 else ''})" for name, where in list(by_name.items())[:8]
        )
        raise MissingReference(
            f"{len(by_name)} of what the export refers to is not here: {listed}",
            "export it along, import it first (batos model import, batos adapters import), or give something here its name",
            missing=[{"reference": name, "from": where[:LISTED]} for name, where in list(by_name.items())[:LISTED]],
        )

    # --- the whole ---------------------------------------------------------------------------------------------------

    def _reached(self, roots: list[Arrival]) -> list[Arrival]:
        """What comes in, in the order of the export: the rest would be reachable from nowhere."""
        by_identity = {id(arrival.object): arrival for arrival in self._arrivals.values()}
        reached: dict[int, Arrival] = {}
        pending = list(roots)
        while pending:
            arrival = pending.pop()
            if id(arrival.object) in reached:
                continue
            reached[id(arrival.object)] = arrival
            values = [*arrival.parents, *arrival.slots.values()]
            values += [methods.examples_of(value) for value in arrival.slots.values() if is_method(value)]
            for referent in referents(values):
                if id(referent) in by_identity:
                    pending.append(by_identity[id(referent)])
        return [arrival for arrival in self._arrivals.values() if id(arrival.object) in reached]


def _methods_of(owner: UvmObject) -> list[UvmObject]:
    """The methods that an object has, in its slots or in what they hold."""
    in_slots = referents(list(owner._slots.values()))
    return list(dict.fromkeys(referent for referent in in_slots if isinstance(referent, UvmObject) and is_method(referent)))


_NOBODY: Final = UvmObject()
"""Stands for what is missing; a plan with it is never carried out."""


def _document(number: int, encoded: bytes) -> ObjectDocument:
    if len(encoded) > DOCUMENT_BYTES:
        raise BadExport(f"object {number} has {len(encoded):,} bytes; {DOCUMENT_BYTES:,} are allowed")
    try:
        return decode_document(encoded)
    except msgspec.DecodeError as error:
        raise BadExport(f"object {number} cannot be read: {error}", "export it again", object=str(number)) from error


def _may_name(name: str) -> bool:
    return 1 <= len(name) <= 256 and not name.startswith(("@", "_")) and name.isprintable()
