"""The signature a message needs, and the marks that a careless author forgets."""

import ast
from collections.abc import Sequence

import pytest

from tests.uvm.language.plain_hooks import PlainHooks, PlainObject, body
from uvm.language.audit import audit

MARK = "self._p_changed = True"


@pytest.mark.parametrize(
    ("signature", "positional", "keywords", "fits"),
    [
        ("self", 0, [], True),
        ("self, a", 1, [], True),
        ("self", 1, [], False),
        ("self, a", 0, [], False),
        ("self, a=1", 0, [], True),
        ("self, a, b", 1, ["b"], True),
        ("self, a, b", 1, ["c"], False),
        ("self, a, b=None", 1, [], True),
        ("self, b, a", 1, ["b"], False),
        ("self, a, b=-1", 2, [], True),
        ("self=1", 0, [], False),
    ],
)
def test_the_signature_fits_the_message(signature: str, positional: int, keywords: Sequence[str], fits: bool) -> None:
    verdict = audit(f"def m({signature}):\n    return 1\n", "m", positional, keywords)
    assert verdict.ok is fits
    if not fits:
        assert verdict.findings[0].rule == "signature"


FORGOTTEN = {
    "at the end": ("self.tags.append(1)", f"self.tags.append(1)\n{MARK}"),
    "before return": ("self.tags.append(1)\nreturn self.tags", f"self.tags.append(1)\n{MARK}\nreturn self.tags"),
    "once for two": ("self.tags.append(1)\nself.d['k'] = 2\nreturn 1", f"self.tags.append(1)\nself.d['k'] = 2\n{MARK}\nreturn 1"),
    "item": ("self.d['k'] = 1", f"self.d['k'] = 1\n{MARK}"),
    "item in place": ("self.d['k'] += 1", f"self.d['k'] += 1\n{MARK}"),
    "deleted item": ("del self.d['k']", f"del self.d['k']\n{MARK}"),
    "nested item": ("self.d['k']['n'] = 1", f"self.d['k']['n'] = 1\n{MARK}"),
    "nested method": ("self.d['k'].append(1)", f"self.d['k'].append(1)\n{MARK}"),
    "through get": ("self.d.get('k', []).append(1)", f"self.d.get('k', []).append(1)\n{MARK}"),
    "through setdefault": ("self.d.setdefault('k', []).append(1)", f"self.d.setdefault('k', []).append(1)\n{MARK}"),
    "alias": ("t = self.tags\nt.append(1)", f"t = self.tags\nt.append(1)\n{MARK}"),
    "alias of an alias": ("t = self.tags\nu = t\nu.append(1)", f"t = self.tags\nu = t\nu.append(1)\n{MARK}"),
    "alias by sending": ("t = self.tags()\nt.append(1)", f"t = self.tags()\nt.append(1)\n{MARK}"),
    "alias in place": ("t = self.tags\nt += [1]", f"t = self.tags\nt += [1]\n{MARK}"),
    "loop variable": ("for r in self.rows:\n    r['n'] = 1\nreturn 1", f"for r in self.rows:\n    r['n'] = 1\n    {MARK}\nreturn 1"),
    "loop over items": ("for k, v in self.d.items():\n    v.append(k)", f"for k, v in self.d.items():\n    v.append(k)\n    {MARK}"),
    "loop over sorted": (
        "for i, r in enumerate(sorted(self.rows)):\n    r.clear()",
        f"for i, r in enumerate(sorted(self.rows)):\n    r.clear()\n    {MARK}",
    ),
    "picked": ("r = max(self.rows, key=len)\nr.append(1)", f"r = max(self.rows, key=len)\nr.append(1)\n{MARK}"),
    "filtered": ("for r in [r for r in self.rows if r]:\n    r.pop()", f"for r in [r for r in self.rows if r]:\n    r.pop()\n    {MARK}"),
    "branch": ("if a:\n    self.tags.append(1)\nreturn 1", f"if a:\n    self.tags.append(1)\n    {MARK}\nreturn 1"),
    "one branch marked": (
        f"if a:\n    self.tags.append(1)\n    {MARK}\nelse:\n    self.tags.pop()",
        f"if a:\n    self.tags.append(1)\n    {MARK}\nelse:\n    self.tags.pop()\n    {MARK}",
    ),
    "left early": ("self.tags.append(1)\nif a:\n    return 1\n" + MARK, f"self.tags.append(1)\n{MARK}\nif a:\n    return 1\n{MARK}"),
    "in return": ("return self.tags.pop()", f"{MARK}\nreturn self.tags.pop()"),
    "in a test": ("if self.tags.pop():\n    return 1", f"{MARK}\nif self.tags.pop():\n    return 1"),
    "in an elif": (
        "if a:\n    return 2\nelif self.tags.pop():\n    return 1",
        f"{MARK}\nif a:\n    return 2\nelif self.tags.pop():\n    return 1",
    ),
    "before break": ("for r in a:\n    self.tags.append(r)\n    break", f"for r in a:\n    self.tags.append(r)\n    {MARK}\n    break"),
    "left in the next round": (
        f"for r in a:\n    if r:\n        return 1\n    self.tags.append(r)\n{MARK}",
        f"for r in a:\n    if r:\n        return 1\n    self.tags.append(r)\n    {MARK}\n{MARK}",
    ),
    "under try": (
        f"try:\n    self.tags.append(1)\n    self.n = int(a)\n    {MARK}\nexcept ValueError:\n    return 0",
        f"try:\n    self.tags.append(1)\n    {MARK}\n    self.n = int(a)\n    {MARK}\nexcept ValueError:\n    return 0",
    ),
    "one line": ("if a: self.tags.append(1)\nreturn 1", f"if a: self.tags.append(1); {MARK}\nreturn 1"),
    "semicolons": ("self.tags.append('ä'); return 1", f"self.tags.append('ä'); {MARK}; return 1"),
    "comment": ("self.tags.append(1)  # more\nreturn 1", f"self.tags.append(1)  # more\n{MARK}\nreturn 1"),
    "over several lines": ("self.tags.append(\n    1,\n)", f"self.tags.append(\n    1,\n)\n{MARK}"),
    "tabs": ("if a:\n\tself.tags.append(1)", f"if a:\n\tself.tags.append(1)\n\t{MARK}"),
    "marked too early": (f"{MARK}\nself.tags.append(1)", f"{MARK}\nself.tags.append(1)\n{MARK}"),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_forgotten_mark_is_inserted_where_it_belongs_and_reported(name: str) -> None:
    before, after = FORGOTTEN[name]
    verdict = audit(body(before, "a"), "m", 1)
    assert verdict.ok, verdict.findings
    assert verdict.source == body(after, "a")
    assert verdict.inserted == after.count(MARK) - before.count(MARK)
    assert len(verdict.findings) == verdict.inserted
    assert not any(finding.fatal for finding in verdict.findings)
    again = audit(verdict.source, "m", 1)
    assert (again.ok, again.source, again.inserted) == (True, verdict.source, 0)


COMPLETE = {
    "marked": f"self.tags.append(1)\n{MARK}",
    "marked after a branch": f"if a:\n    self.tags.append(1)\n{MARK}",
    "marked after a loop": f"for r in self.rows:\n    r['n'] = 1\n{MARK}\nreturn 1",
    "marked before return": f"self.tags.append(1)\nself.n = 2\n{MARK}\nreturn self.tags",
    "assignment": "self.tags = [1]",
    "augmented slot": "self.n += 1",
    "own list": "t = []\nt.append(1)\nself.tags = t",
    "sorted copy": "t = sorted(self.tags)\nt.append(1)\nreturn t",
    "slice": "t = self.tags[:]\nt.append(1)\nreturn t",
    "copy": "t = self.tags.copy()\nt.append(1)\nreturn t",
    "comprehension": "t = [x for x in self.tags]\nt.append(1)\nreturn t",
    "sum of lists": "t = self.tags + [1]\nt.append(2)\nreturn t",
    "argument": "a.append(1)\nreturn a",
    "number": "t = self.n\nt += 1\nreturn t",
    "total": "t = 0\nfor r in self.rows:\n    t += r['n']\nreturn t",
    "in return, marked before": f"{MARK}\nreturn self.tags.pop()",
    "other object": "a.add(1)",
}


@pytest.mark.parametrize("name", COMPLETE)
def test_nothing_is_inserted_where_nothing_is_missing(name: str) -> None:
    source = body(COMPLETE[name], "a")
    verdict = audit(source, "m", 1)
    assert verdict.ok, verdict.findings
    assert (verdict.source, verdict.inserted) == (source, 0)


def test_known_kinds_of_slots_save_needless_marks() -> None:
    source = body("self.child.add(1)\nt = self.n\nt += self.n\nreturn t")
    assert audit(source, "m", 0, [], {"child": "object", "n": "int"}).inserted == 0
    assert audit(source, "m", 0, [], {"child": "set", "n": "int"}).inserted == 1


def test_the_inserted_mark_really_marks() -> None:
    verdict = audit(body("for r in self.rows:\n    r['n'] = 1\nreturn len(self.rows)"), "m", 0)
    receiver = PlainObject({"rows": [{}, {}]}, {"m": verdict.source})
    assert PlainHooks().run(receiver, "m") == 2
    assert receiver.marked == 2


def test_windows_line_ends_are_read() -> None:
    verdict = audit("def m(self):\r\n    self.tags.append(1)\r\n    return 1\r\n", "m", 0)
    assert verdict.ok
    assert verdict.inserted == 1
    ast.parse(verdict.source)
