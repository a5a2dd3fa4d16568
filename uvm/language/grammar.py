"""The grammar that a draft is decoded under: the language of methods as EBNF, made for one message.

A pure function; the text goes to the inference worker with the request (xgrammar's dialect, root rule `root`). A
sentence is the body of a method, each line indented by four spaces, without a blank line at the end. Every sentence is
Python; whether its local variables have values, and whatever else needs an eye on the whole, is the audit's to say.
After `self.` come the receiver's slots and selectors alone, so that a draft cannot invent any; a slot that it has not yet can be written,
and is read only where it is answered. After any other `.` come the names that the objects have which it can reach.
"""

import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Final

from uvm.language.builtins import ERRORS, NAMES
from uvm.language.value_methods import METHODS

DEPTH: Final = 4
"""How deep blocks nest, the body itself included."""

COMMON_SELECTORS: Final = ("clone", "setSlot_value_", "removeSlot_", "slotNames", "respondsTo_", "parents")
"""What every object understands (`traits_obj`)."""

LOCALS: Final = tuple(
    """
    a b c d e f g h i j k l m n o p q r s t u v w x y z amount average best change ch copy count counts current difference error
    factor first found groups high hours index item items key keys kept last left length limit line lines longest low lowest
    matches minutes most name names new number numbers old one other others pair pairs part parts place position rate rest
    result right row rows score scores seen share shown side size start step steps sums tag tags taken text texts top total
    totals unit units value values word words worst
    """.split()
)
"""What a draft may call its local variables. Any identifier would be possible and makes compiling the grammar take seconds in
place of hundredths of one, for each message anew; a method that a tool offers is free in this."""

MOST_NAMES: Final = 64
"""Slots, selectors and parameters, each, that a draft may say; the first ones."""
LONGEST_NAME: Final = 64
"""A slot or selector with a longer name is left out."""
_ANY_NAME: Final = "[a-z] [a-z0-9_]{0,23}"
_WORDS: Final = 8

_PRINTED: Final = r"\u00a0-\u2027\u2030-\ud7ff\ue000-\ufffd"
_OPERATORS: Final = ("+", "-", "*", "/", "//", "%", "**")


def grammar_for(
    slots: Sequence[str],
    selectors: Sequence[str],
    parameters: Sequence[str],
    depth: int = DEPTH,
    *,
    new: Sequence[str] = (),
    fields: Sequence[str] = (),
    free: bool = False,
) -> str:
    """EBNF for the body of one method.

    `slots` and `selectors` are what may follow `self.`, the latter with arguments; `parameters` are those of the signature,
    without `self`. `new`: slots that the receiver has not, and that the message speaks of: to be written, or asked for as a
    message. `fields`: what the objects have that it can reach; without any, other objects may have any name of those here.
    What is past `MOST_NAMES` and `LONGEST_NAME` is left out, so that an object with many slots makes no grammar that takes
    long to compile. `free`: a local variable may have any short name in small letters; not every sentence is Python then,
    since a word of Python's is such a name too. Raises ValueError for a name that is no identifier, or a depth outside 1 to
    8.
    """
    if not 1 <= depth <= 8:
        raise ValueError(f"blocks {depth} deep; 1 to 8 are possible")
    for name in (*slots, *selectors, *parameters, *new, *fields):
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise ValueError(f"{name!r} cannot stand in a method: a name is an identifier, no keyword, and does not begin with _")
    slots, selectors, new, fields = (
        [name for name in names if len(name) <= LONGEST_NAME][:MOST_NAMES] for names in (slots, selectors, new, fields)
    )
    new = [name for name in new if name not in slots]
    parameters = parameters[:MOST_NAMES]
    rules = [
        "root ::= body1",
        *_names(slots, selectors, parameters, new, free),
        *_attributes(slots, selectors, new, fields),
        *_texts(),
        *_expressions(bool(new)),
        *_formatted("_s", "inner_d"),
        *_formatted("_d", "inner_s"),
        *_simple_statements(bool(slots), bool(new)),
    ]
    for level in range(1, depth + 1):
        for loop in ("", "_loop") if level > 1 else ("",):
            rules += _block(level, loop, last=level == depth)
    return "\n".join(rules) + "\n"


def candidate_slots(selector: str) -> list[str]:
    """Slots that a selector speaks of and that the receiver may not have yet: `set_colour_to` and `setColourTo` may make `colour`."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", selector)][:_WORDS]
    runs = ("_".join(words[start:stop]) for start in range(1, len(words)) for stop in range(len(words), start, -1))
    return [run for run in dict.fromkeys(runs) if run.isidentifier() and not keyword.iskeyword(run)]


def _either(texts: Iterable[str]) -> str:
    return " | ".join(f'"{text}"' for text in dict.fromkeys(texts))


def _names(slots: Sequence[str], selectors: Sequence[str], parameters: Sequence[str], new: Sequence[str], free: bool) -> list[str]:
    named = [*dict.fromkeys([*selectors, *COMMON_SELECTORS])]
    return [
        *([f"slot ::= {_either(slots)}"] if slots else []),
        *([f"new ::= {_either(new)}"] if new else []),
        f"selector ::= {_either(named)}",
        f"local ::= {_ANY_NAME if free else _either(LOCALS)}",
        f"name ::= {'local' if free else _either(LOCALS)}" + (f" | {_either(parameters)}" if parameters else ""),
        f"function ::= {_either(sorted(NAMES - {'decline'}))}",
        f"method ::= {_either(sorted({name for table in METHODS.values() for name in table} | set(named)))}",
        f"error ::= {_either(ERRORS)}",
    ]


def _attributes(slots: Sequence[str], selectors: Sequence[str], new: Sequence[str], fields: Sequence[str]) -> list[str]:
    """What other objects are asked for. Where it is known what they have, a name that only the selector speaks of is a message to them."""
    named = [*selectors, *COMMON_SELECTORS]
    if not fields:
        return [f"attribute ::= {_either([*LOCALS, *slots, *new, *named])}", 'reach ::= "." attribute ("(" arguments ")")?']
    asked = f' | "." ({_either(new)}) "(" arguments ")"' if new else ""
    return [f"attribute ::= {_either([*fields, *slots, *named])}", f'reach ::= "." attribute ("(" arguments ")")?{asked}']


def _texts() -> list[str]:
    escape = r'"\\" [nt\\\x27\x22]'
    single, double = r"[ -&(-\[\]-~" + _PRINTED + "]", r"[ !#-\[\]-~" + _PRINTED + "]"
    bare_single, bare_double = r"[ -&(-\[\]-z|~" + _PRINTED + "]", r"[ !#-\[\]-z|~" + _PRINTED + "]"
    return [
        f'text ::= "\'" ({single} | {escape})* "\'" | "\\"" ({double} | {escape})* "\\""',
        # Within an f-string of the other quotes: neither a backslash nor that quote may appear (Python 3.11).
        r'inner_s ::= "\x27" [ !$-&(-\[\]-~' + _PRINTED + r']* "\x27"',
        r'inner_d ::= "\x22" [ !$-&(-\[\]-~' + _PRINTED + r']* "\x22"',
        f'piece_s ::= {bare_single} | {escape} | "{{{{" | "}}}}" | "{{" shown_s conversion? format? "}}"',
        f'piece_d ::= {bare_double} | {escape} | "{{{{" | "}}}}" | "{{" shown_d conversion? format? "}}"',
        'conversion ::= "!r" | "!s"',
        'format ::= ":" [<>^]? "0"? [1-9]? [0-9]? ","? ("." [0-9])? [dfegsx%]?',
        'whole ::= "0" | [1-9] [0-9]{0,14}',
        'number ::= whole ("." [0-9]{1,17})?',
    ]


def _expressions(has_new: bool) -> list[str]:
    operators = _either([*(f" {symbol} " for symbol in _OPERATORS), *_OPERATORS, " | ", " & "])
    comparisons = _either(f" {symbol} " for symbol in ("==", "!=", "<", ">", "<=", ">=", "in", "not in", "is", "is not"))
    return [
        'expression ::= choice (" if " choice " else " expression)?',
        'choice ::= negation ((" and " | " or ") negation)*',
        'negation ::= "not "? comparison',
        f"comparison ::= sum (({comparisons}) sum){{0,2}}",
        f"sum ::= signed (({operators}) signed)*",
        'signed ::= "-"? term',
        'term ::= number | "True" | "False" | "None" | "self" | primary trailer*',
        'primary ::= name | held | text | "f\'" piece_s* "\'" | "f\\"" piece_d* "\\"" | display | function "(" arguments ")"',
        'held ::= "self." (selector "(" arguments ")" | slot_name' + (' | new "(" arguments ")"' if has_new else "") + ")",
        'display ::= "(" expression ("," | (", " expression)*) ")" | "()" | "[" (arguments_of_list) "]" | "{" (pairs | members)? "}"',
        'arguments_of_list ::= "" | expression walk | item (", " item)*',
        'pairs ::= expression ": " expression (walk | (", " expression ": " expression)*)',
        'members ::= expression (walk | (", " expression)*)',
        'item ::= "*"? sum | expression',
        'trailer ::= "[" index "]" | "." method "(" arguments ")" | reach',
        'index ::= expression | expression? ":" expression? (":" expression?)?',
        'walk ::= (" for " targets " in " choice (" if " choice)?){1,2}',
        'arguments ::= "" | expression walk | item (", " item)* (", " named)? | named',
        # A face is written one morph a line.
        'face ::= ("column" | "row") "(\\n" ("        " part ",\\n")+ "    )"',
        'part ::= item | ("column" | "row") "(\\n" ("            " item ",\\n")+ "        )"',
        'named ::= "key=" key (", reverse=" expression | ", default=" expression)? | name "=" expression',
        'key ::= "lambda " local ": " expression | name | function',
    ]


def _formatted(q: str, text: str) -> list[str]:
    """What stands between the braces of an f-string. `q` names the f-string's quotes, `text` is a text in the others.

    A smaller language than that of expressions: braces and colons would be read as the f-string's own.
    """
    return [
        f'shown{q} ::= added{q} (" if " compared{q} " else " added{q})?',
        f'compared{q} ::= added{q} ((" == " | " > " | " < " | " in ") added{q})?',
        f'added{q} ::= single{q} ((" + " | " - " | " * " | " / " | " // " | " % " | "*" | "/") single{q})*',
        f'single{q} ::= number | ({text} | name | called{q} | "self." slot_name | "(" added{q} ")") after{q}*',
        f'called{q} ::= ("self." selector | function) "(" given{q} ")"',
        f'after{q} ::= "[" (added{q} | whole? ":" whole? | "-" whole) "]" | "." method "(" given{q} ")" | "." attribute',
        f'given{q} ::= "" | shown{q} (", " shown{q})* | shown{q} walked{q} | "[" shown{q} walked{q} "]"',
        f'walked{q} ::= " for " targets " in " added{q} (" if " compared{q})?',
    ]


def _simple_statements(has_slots: bool, has_new: bool) -> list[str]:
    augmented = _either(f" {symbol}= " for symbol in (*_OPERATORS, "|", "&"))
    slot = ' | "self." slot' if has_slots else ""
    new = ' | "self." new' if has_new else ""
    answered = ' | "return self." new' if has_new else ""
    return [
        f"slot_name ::= {'slot' if has_slots else 'selector'}",
        'test ::= expression ":\\n"',
        'loop_head ::= ("for " targets " in " | "while ") test',
        'caught ::= "except " (error | "(" error (", " error)+ ")") (" as " local)? ":\\n"',
        'targets ::= local (", " local){0,3} | local ", (" local ", " local ")"',
        'place ::= (name | held) trailer* "[" index_one "]"',
        "index_one ::= expression",
        f"target ::= local | place{slot}",
        f"written ::= target{new}",
        'values ::= expression (", " expression)*',
        'said ::= "decline(" text ")" | "self." selector "(" arguments ")" | (name | held | text) trailer* "." method "(" arguments ")"'
        ' | name "." attribute "(" arguments ")"',
        f'simple ::= written (", " written){{0,3}} " = " values{answered} | target ({augmented}) expression'
        ' | "self._p_changed = True" | said | "return" (" " values)? | "raise " error ("(" expression? ")")? | "del " place'
        ' | "assert " expression (", " text)? | "pass"',
    ]


def _block(level: int, loop: str, last: bool) -> list[str]:
    """The statements of one depth; `loop` is a suffix where break and continue have something to leave."""
    here, indent = f"{level}{loop}", "    " * level
    leave = ' | "break" | "continue"' if loop else ""
    rules = [f'body{here} ::= line{here} ("\\n" line{here})*']
    face = ' | "return " face' if level == 1 else ""
    if last:
        return [*rules, f'line{here} ::= "{indent}" (simple{leave}{face})']
    inner, inner_loop = f"body{level + 1}{loop}", f"body{level + 1}_loop"
    return [
        *rules,
        f'line{here} ::= "{indent}" (simple{leave}{face} | if{here} | loop{here} | try{here})',
        f'if{here} ::= "if " test {inner} ("\\n{indent}elif " test {inner})* ("\\n{indent}else:\\n" {inner})?',
        f"loop{here} ::= loop_head {inner_loop}",
        f'try{here} ::= "try:\\n" {inner} ("\\n{indent}" caught {inner})+',
    ]
