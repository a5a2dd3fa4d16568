"""The grammar that drafts are decoded under, against xgrammar itself, against Python, and by running its sentences."""

import ast
import functools
import keyword
import warnings
from collections.abc import Sequence
from random import Random

import pytest
import xgrammar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xgrammar.testing import _is_grammar_accept_string as accepts

from tests.uvm.language.bodies import BODIES, SELECTORS, SLOTS
from tests.uvm.language.plain_hooks import PlainHooks, PlainObject
from tests.uvm.language.sampler import Sampler
from uvm.errors import AttemptEnded, AuditRefused, ImageError
from uvm.language.audit import audit
from uvm.language.compiler import compile_method
from uvm.language.grammar import LOCALS, MOST_NAMES, candidate_slots, grammar_for


@functools.cache
def compiled(slots: tuple[str, ...], selectors: tuple[str, ...], parameters: tuple[str, ...]) -> xgrammar.Grammar:
    return xgrammar.Grammar.from_ebnf(grammar_for(slots, selectors, parameters))


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


def accepted(text: str, parameters: Sequence[str] = ("a",), slots: Sequence[str] = SLOTS, selectors: Sequence[str] = SELECTORS) -> bool:
    return bool(accepts(compiled(tuple(slots), tuple(selectors), tuple(parameters)), text))


@pytest.mark.parametrize(("parameters", "text"), BODIES)
def test_the_grammar_has_the_bodies_that_people_write(parameters: str, text: str) -> None:
    names = [name.strip() for name in parameters.split(",") if name.strip()]
    assert accepted(indented(text), names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "return 1",
        "    return 1\n",
        "    return 1 ",
        "    return 1\n\n    return 2",
        "     return 1",
        "    return self.unknown",
        "    return self._p_jar",
        "    self.unknown = 1",
        "    self.unknown(1)",
        "    self._p_changed = False",
        "    import os",
        "    return open('x')",
        "    return __import__('os')",
        "    return a.__class__",
        "    self = 1",
        "    in = 1",
        "    return lambda",
        "    x = yield",
        "    break",
        "    if a:\n    return 1",
        "    if a:\n            return 1",
        "    for x in a:\n        return 1\n        else:\n        pass",
        "    return 'unclosed",
        "    return 'a\nb'",
        "    return 007",
        "    return f'{a'",
        "    return f'{'",
        "    try:\n        pass",
        "    except Exception:\n        pass",
        "    try:\n        pass\n    except:\n        pass",
        "    return 1; return 2",
        "    def f():\n        return 1",
        "    while True: pass",
        "    decline()",
        "    return column(\n        label('a')\n    )",
        "    return column(\n    label('a'),\n    )",
    ],
)
def test_the_grammar_has_nothing_else(text: str) -> None:
    assert not accepted(text)


def test_what_self_has_is_baked_in() -> None:
    assert accepted("    return self.colour", slots=["colour"])
    assert not accepted("    return self.size", slots=["colour"])
    assert accepted("    return self.paint(a)", slots=["colour"], selectors=["paint"])
    assert not accepted("    return self.wash(a)", slots=["colour"], selectors=["paint"])
    assert accepted("    return Name + myValue", parameters=["Name", "myValue"])
    assert not accepted("    return Name", parameters=[])


def test_an_object_without_slots_has_a_grammar() -> None:
    assert accepted("    return 'hello'", parameters=[], slots=[], selectors=[])
    assert not accepted("    return self.x", parameters=[], slots=[], selectors=[])


def test_reserved_words_are_no_variables() -> None:
    for word in keyword.kwlist:
        assert not accepted(f"    {word} = 1"), word
    for word in LOCALS:
        assert accepted(f"    {word} = 1"), word


def test_names_that_cannot_be_are_refused() -> None:
    for bad in ("class", "_x", "a b", "1x", 'x"'):
        with pytest.raises(ValueError, match="cannot stand"):
            grammar_for([bad], [], [])
    with pytest.raises(ValueError, match="deep"):
        grammar_for([], [], [], depth=0)


def test_a_selector_speaks_of_slots_that_are_not_there_yet() -> None:
    assert candidate_slots("set_colour_to") == ["colour_to", "colour", "to"]
    assert candidate_slots("setColourTo") == ["colour_to", "colour", "to"]
    assert candidate_slots("rename") == []
    assert "class" not in candidate_slots("set_class")


def test_a_slot_that_is_not_there_yet_is_written_and_answered_and_read_nowhere_else() -> None:
    grammar = xgrammar.Grammar.from_ebnf(grammar_for(["price"], [], ["a"], new=["colour"]))
    assert accepts(grammar, "    self.colour = a\n    return self.colour")
    assert accepts(grammar, "    return self.price + self.colour()"), "as a message, which may be written too"
    for body in ("    return self.price + self.colour", "    self.colour += 1", "    x = self.colour", "    return f'{self.colour}'"):
        assert not accepts(grammar, body), body


def test_other_objects_are_asked_for_what_they_have() -> None:
    known = xgrammar.Grammar.from_ebnf(grammar_for(["animals"], [], [], new=["speeds"], fields=["speed", "kind"]))
    assert accepts(known, "    return sum(o.speed for o in self.animals)")
    assert accepts(known, "    return sum(o.speeds() for o in self.animals)"), "as a message, which may be written too"
    for name in ("speeds", "value", "animal"):
        assert not accepts(known, f"    return sum(o.{name} for o in self.animals)"), name
    unknown = xgrammar.Grammar.from_ebnf(grammar_for(["animals"], [], [], new=["speeds"]))
    assert accepts(unknown, "    return sum(o.speeds for o in self.animals)"), "where nothing is known of them"


def test_many_slots_with_long_names_make_no_larger_grammar() -> None:
    few = [f"slot_{number:02}_{'x' * 50}" for number in range(MOST_NAMES)]
    many = [*few, *(f"slot_{number}_{'y' * 100}" for number in range(5000))]
    assert grammar_for(many, many, many[:200]) == grammar_for(few, few, many[:MOST_NAMES])
    assert grammar_for([], [], [], new=many, fields=many) == grammar_for([], [], [], new=few, fields=few)
    assert len(grammar_for(many, many, many)) < 60_000
    assert len(candidate_slots("aB" * 64)) <= 36


def sampled(fixed: bool) -> str:
    """A grammar without slots that are not there yet, or with."""
    new, fields = ([], []) if fixed else (["colour", "size_of"], ["weight", "owner"])
    return grammar_for(SLOTS, SELECTORS, ["a", "b"], new=new, fields=fields)


@functools.cache
def sampled_compiled(fixed: bool) -> xgrammar.Grammar:
    return xgrammar.Grammar.from_ebnf(sampled(fixed))


@functools.cache
def sampler(fixed: bool) -> Sampler:
    names = {"local": ["x", "y", "a", "row"], "name": ["a", "b", "x"], "slot": ["price", "tags", "stock", "title"]} if fixed else {}
    return Sampler(sampled(fixed), names)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_every_sentence_is_python_and_in_xgrammars_language(seed: int) -> None:
    sentence = sampler(seed % 2 == 0).draw(Random(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse(f"def m(self, a, b):\n{sentence}\n")
    if len(sentence) < 2000:
        assert accepts(sampled_compiled(seed % 2 == 0), sentence)


LISTED = (ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, NameError, AssertionError, ImageError)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_a_sentence_that_passes_the_audit_ends_in_a_value_or_a_listed_error(seed: int) -> None:
    random = Random(seed)
    sentence = sampler(True).draw(random)
    source = f"def m(self, a, b):\n    x = y = row = [1, 2]\n{sentence}\n"
    verdict = audit(source, "m", 2)
    if not verdict.ok:
        # What the grammar cannot know: names, sizes, and marks that fit on no line of their own.
        assert {finding.rule for finding in verdict.findings} <= {"names", "size", "covenant", "language", "syntax"}
        return
    assert audit(verdict.source, "m", 2).inserted == 0
    slots = {"price": 2.5, "tags": ["red", "new"], "stock": {"a": 1}, "title": "t"}
    values = [3, "text", [1, 2], {"k": "v"}, None, -1.5, PlainObject({"price": 1})]
    receiver = PlainObject(slots, {"m": verdict.source})
    hooks = PlainHooks(100_000)
    try:
        hooks.run(receiver, "m", random.choice(values), random.choice(values))
    except Exception as error:
        # `raise Exception(…)` is in the language; anything else that is not listed is a fault of the guards.
        if type(error) is not Exception and not isinstance(error, LISTED):
            raise
    except AttemptEnded:
        return


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["", "def m(self):\n    return ", "def m(self):\n    "]))
def test_no_text_makes_the_audit_fail_in_any_other_way(text: str, before: str) -> None:
    verdict = audit(before + text, "m", 0)
    if verdict.ok:
        compile_method(verdict.source, "m")
    else:
        assert verdict.findings
        with pytest.raises(AuditRefused):
            compile_method(before + text.replace("\r\n", "\n"), "m")


def test_free_local_names_are_any_short_ones_and_slots_stay_baked_in() -> None:
    free = xgrammar.Grammar.from_ebnf(grammar_for(["price"], [], ["rate"], free=True))
    assert accepts(free, "    unheard_of = self.price\n    return unheard_of * rate")
    assert not accepts(free, "    return self.unknown")
    assert not accepts(free, "    _x = 1")
    assert not accepts(xgrammar.Grammar.from_ebnf(grammar_for(["price"], [], ["rate"])), "    unheard_of = self.price")
