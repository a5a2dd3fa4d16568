"""Whether an image boots: everything that a start needs, object by object.

What is looked at: the root, the Codex and its digest, the names, every primordial object with its primitives and methods (compiled and
audited), the kernel's tables, the router, the heartbeat's fence, and the models and adapters with their files. Changes nothing.

`rewind` looks at the files, as of any transaction; `awakening` at what the server has, before it says that the image was found.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import BTrees.check
from BTrees.OOBTree import OOBTree
from msgspec import Struct, field
from ZODB.blob import FilesystemHelper

from uvm.awakening.renewal import has_primitive, kernel_slots
from uvm.errors import ImageError
from uvm.image import codex, tables
from uvm.image.image import KERNEL_ROOTS, Image
from uvm.image.message_object import is_method
from uvm.image.views import weights
from uvm.language.audit import audit
from uvm.objects import ABSENT, KIND, MergingVector, UvmObject
from uvm.protocol import Reference
from uvm.runtime.primitives import PRIMITIVES

_MOST: Final = 200


class BootProblem(Struct, frozen=True):
    """One thing that is wrong. `fatal`: the service cannot start, or keeps losing a process, because of it."""

    where: str
    what: str
    remedy: str
    fatal: bool


class Checked(Struct):
    """What was looked at, and what is wrong with it. `awake`: false where the awakening has not been yet, which is no problem."""

    awake: bool = False
    objects: int = 0
    methods: int = 0
    records: int = 0
    blobs: int = 0
    problems: list[BootProblem] = field(default_factory=list)

    @property
    def boots(self) -> bool:
        return not any(problem.fatal for problem in self.problems)

    def add(self, where: str, what: object, remedy: str, *, fatal: bool) -> None:
        if len(self.problems) < _MOST:
            self.problems.append(BootProblem(where, str(what)[:500], remedy, fatal))


BACK: Final = "`batos image rollback` goes back to the last transaction that boots; a backup is the other way"
_NEXT_UP = "the next `batos up` puts it back"
_SEND = "CreateMethod with the right `policy` replaces it"
_RESTORE = "restore a backup; the blob's file may be in one under the same name"


def check(image: Image, blobs: Path, digests: Callable[[Path], str] | None = None) -> Checked:
    """Look at an image in its open transaction. `digests`: computes a file's digest; without it files are only looked for."""
    checked = Checked()
    root = _guarded(checked, "the root", lambda: dict(image.root))
    if root is None or not root:
        return checked
    checked.awake = True
    for key in ("codex", "identity", "names", "primordial", "message_traits", "router", "fence", *KERNEL_ROOTS):
        if key not in root:
            remedy, fatal = (_NEXT_UP, False) if key in KERNEL_ROOTS else (BACK, True)
            checked.add("the root", f"has no {key}", remedy, fatal=fatal)
    if not checked.boots:
        return checked
    _guarded(checked, "the Codex", lambda: codex.verify(image))
    names = _guarded(checked, "the names", lambda: _names(root["names"]))
    primordial = _guarded(checked, "the list of primordial objects", lambda: _primordial(root["primordial"], names or {}))
    objects = {**(primordial or {}), "message_traits": root["message_traits"]}
    for name, target in objects.items():
        checked.objects += 1
        _guarded(checked, f"{name} {_reference(target)}", partial(UvmObject.names, target))
    if not checked.boots:
        return checked
    _methods(checked, image, objects)
    _kernel(checked, root)
    for name, target in (names or {}).items():
        if name not in objects:
            checked.objects += 1
            _guarded(checked, f"{name} {_reference(target)}", partial(UvmObject.names, target), fatal=False)
    proxies = [
        leaf for table in ("models", "adapters") if table in root for leaf in _guarded(checked, table, partial(_leaves, root[table])) or []
    ]
    _files(checked, [*objects.values(), *(names or {}).values(), *proxies], blobs, digests)
    return checked


def _guarded(checked: Checked, where: str, look: Callable[[], Any], *, fatal: bool = True, remedy: str = BACK) -> Any:
    """What `look` returns; None, and a problem, where it fails in whatever way broken records make it."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001  damaged records raise anything
        checked.add(where, f"{type(error).__name__}: {error}", remedy, fatal=fatal)
        return None


def _reference(target: Any) -> str:
    oid = getattr(target, "_p_oid", None)
    return str(Reference(oid)) if isinstance(oid, bytes) else ""


def _names(names: Any) -> dict[str, UvmObject]:
    if type(names) is not OOBTree:
        raise ValueError(f"are a {type(names).__name__}, not a BTree")
    names._check()
    BTrees.check.check(names)
    bound = dict(names.items())
    for name, target in bound.items():
        if type(name) is not str or type(target) is not UvmObject:
            raise ValueError(f"{name!r:.80} names a {type(target).__name__}, not an object")
    return bound


def _primordial(listed: Any, names: dict[str, UvmObject]) -> dict[str, UvmObject]:
    if type(listed) is not list or "traits_obj" not in listed:
        raise ValueError("it does not list traits_obj")
    missing = [name for name in listed if name not in names]
    if missing:
        raise ValueError(f"{', '.join(map(str, missing))} is named no more")
    return {name: names[name] for name in listed}


def _methods(checked: Checked, image: Image, objects: dict[str, UvmObject]) -> None:
    for holder, selector in kernel_slots(image):
        checked.methods += 1
        if not has_primitive(holder, selector):
            checked.add(f"{selector} of {_reference(holder)}", "is not the kernel's primitive", _NEXT_UP, fatal=False)
    for name, owner in objects.items():
        for selector in owner.names():
            where = f"{selector} of {name} {_reference(owner)}"
            value = owner.own(selector)
            if type(value) is not UvmObject:
                continue
            if _guarded(checked, where, partial(UvmObject.names, value), fatal=False, remedy=_SEND) is not None and is_method(value):
                checked.methods += 1
                _guarded(checked, where, partial(_runs, value), fatal=False, remedy=_SEND)


def _runs(method: UvmObject) -> None:
    if method.own("primitive") is not ABSENT:
        if method.own("primitive") not in PRIMITIVES:
            raise ValueError(f"names the primitive {method.own('primitive')!r:.80}, which this kernel has not")
        return
    verdict = audit(method.own("source"), method.own("selector"), len(method.own("positional")), method.own("keywords"))
    if not verdict.ok:
        raise ValueError(f"does not pass the audit: {verdict.findings[0].message}")


def _kernel(checked: Checked, root: dict[str, Any]) -> None:
    for name in KERNEL_ROOTS:
        table = root.get(name)
        if table is None:
            continue
        if type(table) is not UvmObject or _guarded(checked, f"table {name}", partial(UvmObject.own, table, KIND)) != name:
            checked.add(f"table {name}", "is no table of the kernel", BACK, fatal=True)
            continue
        for leaf in _guarded(checked, f"table {name}", partial(_leaves, table)) or []:
            for key in leaf.names():
                checked.records += 1
                record = leaf.own(key)
                if type(record) is UvmObject:
                    # A UVM that cannot read the head of its journal can commit nothing.
                    _guarded(checked, f"{name} of {key}", partial(UvmObject.names, record), fatal=name == "journals")
    _guarded(checked, "the router", lambda: _router(root["router"]))
    _guarded(checked, "the heartbeat's fence", lambda: _fence(root["fence"]))


def _leaves(table: UvmObject) -> list[UvmObject]:
    return list(tables.leaves(table))


def _router(router: UvmObject) -> None:
    if router.own(KIND) != "router":
        raise ValueError("is no router")
    for name in router.names():
        if name.startswith("of:") and type(router.own(name)) is not MergingVector:
            raise ValueError(f"{name} holds a {type(router.own(name)).__name__}, not weights")


def _fence(fence: UvmObject) -> None:
    if fence.own(KIND) != "lease" or type(fence.own("token")) is not int:
        raise ValueError("has no token")


def _files(checked: Checked, objects: list[UvmObject], blobs: Path, digests: Callable[[Path], str] | None) -> None:
    helper = FilesystemHelper(str(blobs))
    for proxy, kind in _proxies(objects):
        where = f"{kind} {_reference(proxy)}"
        content = _guarded(checked, where, partial(weights, proxy, kind), fatal=False, remedy=_RESTORE)
        recorded = proxy.own("digests", {}) if content else {}
        for name, blob in content.blobs.items() if content else ():
            checked.blobs += 1
            file = Path(helper.getBlobFilename(blob._p_oid, _serial(blob)))
            if not file.is_file():
                checked.add(f"{where}, {name}", f"its file {file} is missing", _RESTORE, fatal=False)
            elif digests is not None and digests(file) != recorded.get(name):
                checked.add(f"{where}, {name}", f"{file} does not have the digest {recorded.get(name)}", _RESTORE, fatal=False)


def _serial(blob: Any) -> bytes:
    # Not `_p_serial`: loading the state of a blob looks for its file.
    serial: bytes = blob._p_jar._storage.load(blob._p_oid)[1]
    return serial


def _proxies(objects: list[UvmObject]) -> Iterator[tuple[UvmObject, str]]:
    visited: set[int] = set()
    for owner in objects:
        try:
            values = list(owner._slots.values())
            kinds = [(value, value.own(KIND)) for value in values if type(value) is UvmObject and id(value) not in visited]
        except (ImageError, AttributeError):
            continue  # said where the object itself was looked at
        for value, kind in kinds:
            if kind in ("model", "adapter"):
                visited.add(id(value))
                yield value, kind
