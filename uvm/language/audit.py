"""The audit (alfred's): whether a source may become a method, and the source with forgotten marks put in.

A pure function, called by a UVM for each draft and for what a tool offers with CreateMethod, and by the awakening for installed
methods when the policy has changed (`compiler.POLICY`, `uvm.awakening.reaudit`). It refuses what is outside the language
(`uvm/language/syntax.py`, RestrictedPython through `uvm/language/compiler.py`), a signature that does not fit the message, and it
repairs the one omission that is mechanical: a missing `self._p_changed = True` is inserted and reported. Passing the audit does not make
code harmless; the trial and the confinement come after it.
"""

import ast
import hashlib
from collections.abc import Mapping, Sequence

from msgspec import Struct

from uvm.language import compiler, syntax
from uvm.language.covenant import MissingMark, missing_marks
from uvm.language.source_limits import Finding, listed

__all__ = ["Audit", "Finding", "audit", "meaning"]

_MARK = "self._p_changed = True"


class Audit(Struct, frozen=True):
    """The verdict. `source` has the inserted marks; `inserted` counts them; a finding that is not fatal is a remark."""

    ok: bool
    source: str
    findings: list[Finding]
    inserted: int


def audit(
    source: str,
    selector: str,
    positional: int,
    keywords: Sequence[str] = (),
    slots: Mapping[str, str] | None = None,
) -> Audit:
    """Judge a method's source.

    `positional` and `keywords` describe the message: the function takes `self`, then so many parameters and, by name,
    the keywords; more parameters need defaults. `slots` gives the kinds of the receiver's slots as `isinstance_of`
    names them ('list', 'counter', 'object', …) where they are known: fewer needless marks are inserted then.
    """
    source = source.replace("\r\n", "\n")
    code, findings = compiler.examine(source, selector)
    if code is None:
        return Audit(False, source, findings, 0)
    method = _method(source, selector)
    wrong = _signature(method, positional, keywords)
    if wrong:
        return Audit(False, source, wrong, 0)
    missing = missing_marks(method, slots)
    if not missing:
        return Audit(True, source, [], 0)
    for near in (False, True):
        places = missing_marks(method, slots, near)
        repaired = _insert(source, places)
        code, _ = compiler.examine(repaired, selector)
        if code is not None and not missing_marks(_method(repaired, selector), slots):
            return Audit(True, repaired, listed([_remark(place) for place in places]), len(places))
    message = f"a change inside a value is not followed by {_MARK} on every path; put each statement on a line of its own"
    return Audit(False, source, [Finding(missing[0].site.lineno, "covenant", message)], 0)


def meaning(source: str) -> str:
    """A digest of an audited source that does not change with its layout and its comments."""
    return hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()


def _remark(place: MissingMark) -> Finding:
    return Finding(place.site.lineno, "covenant", f"a change inside a value was not followed by {_MARK}: inserted", fatal=False)


def _method(source: str, selector: str) -> ast.FunctionDef:
    """A fresh tree: compiling has replaced the nodes of the first one by guards."""
    method = syntax.parse(source, selector).method
    if method is None:
        raise ValueError(f"{selector} passed the compiler and is no function; this is a fault of the audit")
    return method


def _signature(method: ast.FunctionDef, positional: int, keywords: Sequence[str]) -> list[Finding]:
    names = [arg.arg for arg in method.args.args][1:]
    with_default = set(names[len(names) - len(method.args.defaults) :]) if method.args.defaults else set()
    if len(method.args.defaults) > len(names):
        return [Finding(method.lineno, "signature", "self has no default")]
    expected = ", ".join(["self", *(f"a parameter for argument {index + 1}" for index in range(positional)), *keywords])
    parameters = ", ".join(["self", *names])
    first, rest = names[:positional], names[positional:]
    problem = ""
    if len(first) < positional:
        problem = "has too few parameters"
    elif any(name in first for name in keywords):
        problem = "takes a keyword argument in the place of a positional one"
    elif absent := [name for name in keywords if name not in rest]:
        problem = f"lacks the keyword argument {absent[0]}"
    elif extra := [name for name in rest if name not in keywords and name not in with_default]:
        problem = f"has the parameter {extra[0]}, which the message does not give and which has no default"
    if not problem:
        return []
    return [Finding(method.lineno, "signature", f"({parameters}) {problem}; the message needs ({expected})")]


# --- insertion -------------------------------------------------------------------------------------------------------


def _insert(source: str, missing: Sequence[MissingMark]) -> str:
    """The source with marks; every other character stays where it was."""
    lines = source.split("\n")
    # From the end of the text to its beginning, so that earlier positions stay true.
    edits = sorted({_edit(lines, place) for place in missing}, reverse=True)
    for line, column, is_line, text in edits:
        if is_line:
            lines.insert(line, text)
        else:
            encoded = lines[line].encode()
            lines[line] = (encoded[:column] + text.encode() + encoded[column:]).decode()
    return "\n".join(lines)


def _edit(lines: Sequence[str], missing: MissingMark) -> tuple[int, int, bool, str]:
    """(index of the line, column in bytes, whether a whole line goes in before it, text)."""
    anchor = missing.anchor
    first = lines[anchor.lineno - 1].encode()
    indent = first[: anchor.col_offset].decode()
    alone = not indent.strip()
    if missing.before:
        if alone:
            return anchor.lineno - 1, 0, True, indent + _MARK
        return anchor.lineno - 1, anchor.col_offset, False, f"{_MARK}; "
    end_line, end_column = anchor.end_lineno or anchor.lineno, anchor.end_col_offset or 0
    rest = lines[end_line - 1].encode()[end_column:].decode().strip()
    if alone and (not rest or rest.startswith("#")):
        return end_line, 0, True, indent + _MARK
    return end_line - 1, end_column, False, f"; {_MARK}"
