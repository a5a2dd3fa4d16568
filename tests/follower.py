"""A program that follows the state of an image as docs/protocol.md says, and nothing more."""

from collections.abc import Callable
from typing import Any

from uvm.protocol import Change, ObjectState, Reference, State, StateUpdate

PARENTS, NAMES, OUT = "parents of it", "names of it", "methods of it that are out of use"
"""Keys beside the slots, which are identifiers."""

_GONE = object()


class Follower:
    """What is known of each object: key → (tid, value); a method's value is ("method", reference)."""

    def __init__(self, inspect: Callable[[Reference], ObjectState | None]) -> None:
        self._inspect = inspect
        self._known: dict[Reference, dict[str, tuple[bytes, Any]]] = {}
        self._again: dict[Reference, bytes] = {}
        self._out_of_use: dict[str, tuple[bytes, bool]] = {}

    def start(self, state: State) -> None:
        """Begin with a snapshot."""
        for one in state.objects:
            self._whole(one, state.tid)

    def apply(self, update: StateUpdate) -> None:
        """Take an update, in any order."""
        for change in update.changes:
            if change.quarantined is not None:
                self._use(str(change.reference), update.tid, change.quarantined)
            elif change.again:
                self._again[change.reference] = update.tid
            elif change.whole:
                self._whole(change, update.tid)
            else:
                self._take(change, update.tid)

    def state(self) -> dict[Reference, dict[str, Any]]:
        """Everything that can be reached from the names, after the questions that are open have been asked."""
        while True:
            found = self._reachable()
            asked = [one for one in found if one in self._again or one not in self._known]
            if not asked:
                return {one: self._shown(self._known[one]) for one in found if self._known[one]}
            for reference in asked:
                self._again.pop(reference, None)
                self._known.setdefault(reference, {})
                seen = self._inspect(reference)
                if seen is not None:
                    self._whole(seen, seen.tid)

    def _shown(self, known: dict[str, tuple[bytes, Any]]) -> dict[str, Any]:
        shown = {key: value for key, (_, value) in known.items() if value is not _GONE}
        methods = {key: value[1] for key, value in shown.items() if isinstance(value, tuple)}
        out = sorted(key for key, method in methods.items() if self._out_of_use.get(method, (b"", False))[1])
        return {**shown, **({OUT: out} if out else {})}

    def _use(self, method: str, tid: bytes, out: bool) -> None:
        if self._out_of_use.get(method, (b"", False))[0] <= tid:
            self._out_of_use[method] = (tid, out)

    def _take(self, change: Change, tid: bytes) -> None:
        self._set(change.reference, tid, _entries(change))
        self._set(change.reference, tid, dict.fromkeys(change.removed, _GONE))
        if change.parents is not None:
            self._set(change.reference, tid, {PARENTS: change.parents})
        if change.renamed:
            self._set(change.reference, tid, {NAMES: change.names})

    def _whole(self, one: ObjectState | Change, tid: bytes) -> None:
        entries = {**_entries(one), PARENTS: one.parents, NAMES: one.names}
        known = self._known.setdefault(one.reference, {})
        if isinstance(one, ObjectState):
            for selector, method in one.methods.items():
                self._use(str(method), tid, selector in one.quarantined)
        self._set(one.reference, tid, {**dict.fromkeys(known, _GONE), **entries})

    def _set(self, reference: Reference, tid: bytes, entries: dict[str, Any]) -> None:
        known = self._known.setdefault(reference, {})
        for key, value in entries.items():
            if key not in known or known[key][0] <= tid:
                known[key] = (tid, value)

    def _reachable(self) -> list[Reference]:
        named = [one for one, known in self._known.items() if known.get(NAMES, (b"", []))[1]]
        # What is asked again may have got a name by what was not carried.
        pending, found = [*named, *self._again], dict[Reference, None]()
        while pending:
            one = pending.pop()
            if one in found:
                continue
            found[one] = None
            for _, value in self._known.get(one, {}).values():
                pending += references(value)
        return list(found)


def _entries(one: ObjectState | Change) -> dict[str, Any]:
    return {**one.slots, **{selector: ("method", str(reference)) for selector, reference in one.methods.items()}}


def references(value: Any) -> list[Reference]:
    """The references in a value."""
    if isinstance(value, Reference):
        return [value]
    parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return [reference for part in parts for reference in references(part)]


def of_snapshot(state: State) -> dict[Reference, dict[str, Any]]:
    """A snapshot in the form of `Follower.state`."""
    return {
        one.reference: {**_entries(one), PARENTS: one.parents, NAMES: one.names, **({OUT: sorted(out)} if (out := one.quarantined) else {})}
        for one in state.objects
    }
