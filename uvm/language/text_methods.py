"""The methods of texts that a method may call, each charged by what it looks at and what it makes, before it does.

Called as those in `value_methods` are, whose table has them; `texts` says what searching and stripping cost.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from uvm.language import bounds, texts
from uvm.language.bounds import TickMeter, collected, room_for_items, room_for_text

Method = Callable[..., Any]

_BLOCK: Final = 512
"""Characters that are looked at before the next are charged."""


def _scanned(function: Method, narrow: int, wide: int, grows: int = 1) -> Method:
    """A method that looks at each character, at `narrow` units for 16 of them, or `wide` where the text is not all ASCII."""

    def call(meter: TickMeter, value: str) -> Any:
        length = len(value)
        if length > 32:
            ascii_only = value.isascii()
            if length * (1 if ascii_only else grows) > bounds.TEXT:
                room_for_text(length * grows, meter.charge)
            meter.charge((length * (narrow if ascii_only else wide)) >> 4)
        return function(value)

    return call


def _whether_all(function: Method, dear: bool = False) -> Method:
    """Whether all characters are of a kind; the first that is not ends the search. `dear`: it takes Python longer to say."""

    def call(meter: TickMeter, value: str) -> bool:
        if len(value) <= _BLOCK or not function(value[:16]):
            return bool(function(value[:_BLOCK]))
        for first in range(0, len(value), _BLOCK):
            block = value[first : first + (_BLOCK)]
            meter.charge(15 + (len(block) >> (2 if dear else 3)))
            if not function(block):
                return False
        return True

    return call


def _stripped(function: Method, left: bool, right: bool) -> Method:
    def call(meter: TickMeter, value: str, chars: str | None = None) -> str:
        if chars is not None and type(chars) is not str:
            raise TypeError(f"strip takes a text, not a {bounds.kind_of(chars)}")
        if len(value) <= 64 and (chars is None or len(chars) <= 64):
            return function(value, chars)  # type: ignore[no-any-return]  # a method of str that makes a str
        first = texts.lead(value, chars, meter.charge) if left else 0
        last = len(value) - texts.lead(value[first:], chars, meter.charge, last=True) if right else len(value)
        if last - first < len(value):
            room_for_text(last - first, meter.charge)
            meter.charge(last - first >> (8 if value.isascii() else 7))
        return value[first:last]

    return call


def _affix(function: Method) -> Method:
    """`startswith` and `endswith`: of several, the first that fits ends the search."""

    def call(meter: TickMeter, value: str, affixes: Any, *span: Any) -> bool:
        if type(affixes) is str and len(affixes) <= 512:
            return function(value, affixes, *span)  # type: ignore[no-any-return]  # a method of str that makes a bool
        meter.charge(70)
        for affix in affixes if type(affixes) is tuple else (affixes,):
            if type(affix) is not str:
                raise TypeError(f"a text begins and ends with texts, not with a {bounds.kind_of(affix)}")
            if type(affixes) is tuple:
                meter.charge(35)
            room_for_text(len(affix), meter.charge)
            if function(value, affix, *span):
                return True
        return False

    return call


def _without(function: Method, there: Method) -> Method:
    """`removeprefix` and `removesuffix`."""

    def call(meter: TickMeter, value: str, affix: str) -> str:
        meter.charge(75 + (len(_text(affix)) >> 9))
        room_for_text(len(affix), meter.charge)
        if there(value, affix):
            room_for_text(len(value) - len(affix), meter.charge)
        return function(value, affix)  # type: ignore[no-any-return]  # a method of str that makes a str

    return call


def _padded(function: Method) -> Method:
    def call(meter: TickMeter, value: str, width: int, *fill: str) -> str:
        meter.charge(45)
        if type(width) is int:
            room_for_text(max(width, len(value)), meter.charge)
        return function(value, width, *fill)  # type: ignore[no-any-return]  # a method of str that makes a str

    return call


def _text(part: Any) -> str:
    if type(part) is not str:
        raise TypeError(f"a text is searched for texts, not for a {bounds.kind_of(part)}")
    return part


def _find(meter: TickMeter, value: str, part: str, *span: int) -> int:
    return texts.find(value, _text(part), meter.charge, *span)


def _index(meter: TickMeter, value: str, part: str, *span: int) -> int:
    place = texts.find(value, _text(part), meter.charge, *span)
    if place < 0:
        raise ValueError("substring not found")
    return place


def _count_text(meter: TickMeter, value: str, part: str, *span: int) -> int:
    if len(value) > 32:
        first, last, _ = slice(*(span or (None,)), *((None,) if len(span) == 1 else ())).indices(len(value))
        texts.search_cost(value, _text(part), first, last)(meter.charge)
        if len(part) == 1:
            meter.charge((last - first) >> 5)
    return value.count(part, *span)


def _split(from_right: bool) -> Method:
    def call(meter: TickMeter, value: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
        limit = maxsplit if type(maxsplit) is int and maxsplit >= 0 else bounds.ITEMS + 1
        if len(value) > 32:
            if sep is None:
                # Every second character at most; a fifth of a text is usual.
                pieces = min((len(value) + 4) // 5, limit + 1)
                if len(value) > 2 * bounds.ITEMS and limit > bounds.ITEMS:
                    raise ValueError(f"a text of more than {2 * bounds.ITEMS:,} characters is split with a separator")
                meter.charge(len(value) >> 4)
            else:
                pieces = min(_count_text(meter, value, sep) + 1, limit + 1)
                texts.search_cost(value, sep, 0, len(value))(meter.charge)
                room_for_items(pieces, meter.charge)
                room_for_text(len(value), meter.charge)
            # Pieces that are empty are one and the same.
            filled = pieces if sep is None else min(pieces, max(0, len(value) - (pieces - 1) * len(sep)))
            meter.charge(pieces + 2 * filled)
        if from_right and sep and len(sep) > 1:
            # Python looks from the right in steps that can be made to cost the product of both lengths.
            meter.charge(len(value) >> 3)
            return [piece[::-1] for piece in reversed(value[::-1].split(sep[::-1], maxsplit))]
        parts = value.rsplit(sep, maxsplit) if from_right else value.split(sep, maxsplit)
        if sep is None and len(parts) > len(value) // 5:
            meter.charge(3 * (len(parts) - len(value) // 5))
        return parts

    return call


def _lines(meter: TickMeter, value: str, keepends: bool = False) -> list[str]:
    meter.charge(len(value) * 5 >> 6)
    lines = value.splitlines(bool(keepends)) if len(value) <= bounds.ITEMS else _few_lines(value, bool(keepends))
    meter.charge(len(lines) * 3 >> 2)
    return lines


def _few_lines(value: str, keepends: bool) -> list[str]:
    if sum(map(value.count, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")) >= bounds.ITEMS:
        raise ValueError(f"more lines than the {bounds.ITEMS:,} items that a list may hold")
    return value.splitlines(keepends)


def _join(meter: TickMeter, value: str, parts: Iterable[str]) -> str:
    pieces = list(collected(parts, meter.charge))
    meter.charge(100 + 6 * len(pieces))
    for index, part in enumerate(pieces):
        if type(part) is not str:
            raise TypeError(f"join needs texts; item {index} is a {bounds.kind_of(part)}: use str(…)")
    room_for_text(sum(map(len, pieces)) + len(value) * max(0, len(pieces) - 1), meter.charge)
    return value.join(pieces)


def _replace(meter: TickMeter, value: str, old: str, new: str, count: int = -1) -> str:
    if len(value) > 32 or not old:
        times = _count_text(meter, value, _text(old))
        times = times if count < 0 else min(count, times)
        room_for_text(len(value) + times * max(0, len(_text(new)) - len(old)), meter.charge)
        texts.search_cost(value, old, 0, len(value))(meter.charge)
        per_match = 1 if len(old) == len(new) == 1 else 9 if old else 2
        meter.charge((len(value) >> 5) + (times * per_match >> 3))
    return value.replace(old, new, count)


TEXT_METHODS: Final[dict[str, Method]] = {
    "lower": _scanned(str.lower, 1, 8, 3),
    "upper": _scanned(str.upper, 1, 8, 3),
    "title": _scanned(str.title, 12, 13, 3),
    "capitalize": _scanned(str.capitalize, 7, 8, 3),
    **{name: _whether_all(getattr(str, name)) for name in ("isdigit", "isspace")},
    **{name: _whether_all(getattr(str, name), dear=True) for name in ("isalpha", "isalnum")},
    "strip": _stripped(str.strip, True, True),
    "lstrip": _stripped(str.lstrip, True, False),
    "rstrip": _stripped(str.rstrip, False, True),
    "startswith": _affix(str.startswith),
    "endswith": _affix(str.endswith),
    "removeprefix": _without(str.removeprefix, str.startswith),
    "removesuffix": _without(str.removesuffix, str.endswith),
    **{name: _padded(getattr(str, name)) for name in ("zfill", "center", "ljust", "rjust")},
    "find": _find,
    "index": _index,
    "count": _count_text,
    "split": _split(False),
    "rsplit": _split(True),
    "splitlines": _lines,
    "join": _join,
    "replace": _replace,
}
"""By name, without the text's own argument: the meter comes first, then the text."""
