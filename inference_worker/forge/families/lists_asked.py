"""What a list of texts answers without being changed; `lists` puts these families among its own."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_TEXTS = values.list_of(values.short_text, 0, 6)
_WORDS = values.list_of(values.word, 1, 6)


def count(d: Draw) -> Method:
    """How many."""
    many, singular = d.things(_TEXTS)
    selector = d.say(
        f"count_{many}",
        f"count_{many}",
        f"number_of_{many}",
        f"{singular}_count",
        f"how_many_{many}",
        f"{many}_count",
        f"size_of_{many}",
        f"{many}_size",
        f"{many}_length",
        f"total_{many}",
        f"amount_of_{many}",
    )
    return Method(selector, f"return len(self.{many})", lambda s: sum(1 for _ in s[many]))


def count_of(d: Draw) -> Method:
    """How often one value is in the list."""
    many, singular = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:5]), 0, 6))
    a = d.arg(singular, values.member_of(many, values.word, 0.8))
    selector = d.say(
        f"count_{singular}",
        f"how_often_{singular}",
        f"count_of_{singular}",
        f"times_{singular}",
        f"occurrences_of_{singular}",
        f"count_of_{singular}_in_{many}",
        f"how_many_times_{singular}",
    )
    return Method(selector, f"return self.{many}.count({a})", lambda s, v: sum(text == v for text in s[many]))


_ENDS = (
    ("first_{i}", 0),
    ("first_{i}", 0),
    ("oldest_{i}", 0),
    ("front_{i}", 0),
    ("head_of_{x}", 0),
    ("next_{i}", 0),
    ("first_of_{x}", 0),
    ("last_{i}", -1),
    ("last_{i}", -1),
    ("latest_{i}", -1),
    ("newest_{i}", -1),
    ("most_recent_{i}", -1),
    ("last_of_{x}", -1),
    ("final_{i}", -1),
)


def end(d: Draw) -> Method:
    """The first or the last one, None when there is none."""
    many, singular = d.things(_TEXTS)
    shape, place = d.rng.choice(_ENDS)
    return Method(
        d.say(shape.format(x=many, i=singular)),
        f"return self.{many}[{place}] if self.{many} else None",
        lambda s: s[many][place] if len(s[many]) else None,
    )


def extreme_length(d: Draw) -> Method:
    """The longest or the shortest one."""
    many, singular = d.things(_TEXTS)
    longest = d.rng.random() < 0.6
    selectors: tuple[str, ...] = (
        (
            f"longest_{singular}",
            f"longest_{singular}",
            f"longest_of_{many}",
            f"find_longest_{singular}",
            f"get_longest_{singular}",
            f"longest_in_{many}",
            f"{singular}_with_most_letters",
        )
        if longest
        else (
            f"shortest_{singular}",
            f"shortest_{singular}",
            f"shortest_of_{many}",
            f"find_shortest_{singular}",
            f"{singular}_with_fewest_letters",
        )
    )
    if d.rng.random() < 0.08:
        selectors = ("longest",) if longest else ("shortest",)

    def expectation(s: values.Slots) -> str | None:
        best = None
        for text in s[many]:
            if best is None or (len(text) > len(best) if longest else len(text) < len(best)):
                best = text
        return best

    return Method(d.say(*selectors), f"return {'max' if longest else 'min'}(self.{many}, key=len) if self.{many} else None", expectation)


def ordered(d: Draw) -> Method:
    """Sorted, without changing the list."""
    many, _singular = d.things(_TEXTS)
    if d.rng.random() < 0.65:
        selector = d.say(
            f"sorted_{many}",
            f"sorted_{many}",
            f"{many}_sorted",
            f"{many}_in_order",
            f"alphabetical_{many}",
            f"{many}_a_to_z",
            f"ordered_{many}",
            f"{many}_by_name",
            f"list_{many}_in_order",
        )
        return Method(selector, f"return sorted(self.{many})", lambda s: sorted(s[many]))
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"{many}_z_to_a", f"{many}_sorted_descending", f"reverse_sorted_{many}", f"{many}_in_reverse_order"),
            f"return sorted(self.{many}, reverse=True)",
            lambda s: sorted(s[many])[::-1],
        )
    return Method(
        d.say(f"{many}_by_length", f"{many}_sorted_by_length", f"sort_{many}_by_length"),
        f"return sorted(self.{many}, key=len)",
        lambda s: sorted(s[many], key=lambda text: len(text)),
    )


def backwards(d: Draw) -> Method:
    """The other way round, without changing the list."""
    many, _singular = d.things(_TEXTS)
    return Method(
        d.say(
            f"reversed_{many}",
            f"reversed_{many}",
            f"{many}_reversed",
            f"{many}_backwards",
            f"backwards_{many}",
            f"{many}_from_last_to_first",
        ),
        f"return self.{many}[::-1]",
        lambda s: list(reversed(s[many])),
    )


def joined(d: Draw) -> Method:
    """All in one text."""
    many, _singular = d.things(_TEXTS)
    if d.rng.random() < 0.3:
        a = d.arg("separator", values.constant(d.rng.choice((", ", " - ", "; ", "/", " and "))))
        return Method(
            d.say(f"join_{many}", f"join_{many}_with", f"{many}_joined_by", f"{many}_with_separator"),
            f"return {a}.join(self.{many})",
            lambda s, v: v.join(s[many]),
        )
    separator, extra = d.rng.choice(
        (
            (", ", ()),
            (", ", ()),
            (" and ", (f"{many}_joined_with_and",)),
            (" ", (f"{many}_joined_with_spaces",)),
            ("-", (f"{many}_joined_with_dashes",)),
            ("\\n", (f"{many}_as_lines", f"{many}_one_per_line")),
        )
    )
    selector = d.say(
        *(
            extra
            or (
                f"join_{many}",
                f"joined_{many}",
                f"{many}_text",
                f"{many}_as_text",
                f"{many}_joined",
                f"{many}_line",
                f"list_{many}",
                f"{many}_to_string",
                f"print_{many}",
                f"{many}_with_commas",
                f"show_{many}_as_text",
            )
        )
    )
    return Method(selector, f"return '{separator}'.join(self.{many})", lambda s: separator.replace("\\n", "\n").join(s[many]))


def unique(d: Draw) -> Method:
    """Each once, in order."""
    many, _singular = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:5]), 0, 6))
    body = f"return [v for i, v in enumerate(self.{many}) if v not in self.{many}[:i]]"
    return Method(
        d.say(
            f"unique_{many}",
            f"distinct_{many}",
            f"{many}_without_repeats",
            f"different_{many}",
            f"{many}_once_each",
            f"{many}_without_duplicates",
        ),
        body,
        lambda s: list(dict.fromkeys(s[many])),
    )


def count_unique(d: Draw) -> Method:
    """How many different ones."""
    many, singular = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:5]), 0, 6))
    return Method(
        d.say(
            f"count_unique_{many}",
            f"number_of_distinct_{many}",
            f"how_many_different_{many}",
            f"distinct_{singular}_count",
            f"unique_{singular}_count",
        ),
        f"return len(set(self.{many}))",
        lambda s: len(dict.fromkeys(s[many])),
    )


def has(d: Draw) -> Method:
    """Whether one is in the list."""
    many, singular = d.things(_TEXTS)
    a = d.arg(singular, values.member_of(many, values.word))
    if d.rng.random() < 0.2:
        return Method(
            d.say(f"lacks_{singular}", f"is_{singular}_missing", f"misses_{singular}", f"has_no_{singular}"),
            f"return {a} not in self.{many}",
            lambda s, v: v not in set(s[many]),
        )
    selector = d.say(
        f"has_{singular}",
        f"has_{singular}",
        f"has_{singular}",
        f"contains_{singular}",
        f"includes_{singular}",
        f"knows_{singular}",
        f"is_{singular}",
        f"is_in_{many}",
        f"is_known_{singular}",
        f"{many}_contain",
        f"{many}_include",
        f"{singular}_exists",
    )
    return Method(selector, f"return {a} in self.{many}", lambda s, v: v in set(s[many]))


def any_at_all(d: Draw) -> Method:
    """Whether there are any, or none."""
    many, _singular = d.things(values.list_of(values.short_text, 0, 2))
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"has_{many}", f"has_any_{many}", f"any_{many}", f"are_there_{many}", f"has_some_{many}"),
            f"return len(self.{many}) > 0",
            lambda s: s[many] != [],
        )
    return Method(
        d.say(f"has_no_{many}", f"no_{many}", f"is_without_{many}", f"{many}_empty", f"are_{many}_empty", f"{many}_are_empty"),
        f"return len(self.{many}) == 0",
        lambda s: s[many] == [],
    )


def at(d: Draw) -> Method:
    """The one at a place."""
    many, singular = d.things(values.list_of(values.word, 2, 6))
    a = d.arg("index", values.whole(0, 1))
    return Method(
        d.say(f"{singular}_at", f"get_{singular}_at", f"nth_{singular}", f"{singular}_number", f"{singular}_at_index", f"pick_{singular}"),
        f"return self.{many}[{a}]",
        lambda s, n: s[many][n],
    )


def place_of(d: Draw) -> Method:
    """Where one stands."""
    many, singular = d.things(_WORDS)
    a = d.arg(singular, values.member_of(many, values.word, 1))
    return Method(
        d.say(
            f"index_of_{singular}", f"position_of_{singular}", f"where_is_{singular}", f"place_of_{singular}", f"find_index_of_{singular}"
        ),
        f"return self.{many}.index({a})",
        lambda s, v: [text == v for text in s[many]].index(True),
    )


def everything(d: Draw) -> Method:
    """How many letters altogether, or the initials of all."""
    many, _singular = d.things(_WORDS)
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"letters_in_{many}", f"total_length_of_{many}", f"characters_in_{many}", f"{many}_total_length"),
            f"return sum(len(v) for v in self.{many})",
            lambda s: len("".join(s[many])),
        )
    return Method(
        d.say(f"initials_of_{many}", f"{many}_initials"),
        f"return ''.join(v[0] for v in self.{many})",
        lambda s: "".join(text[:1] for text in s[many]),
    )
