"""Lists of texts. A method that changes the list answers the list, one that takes something out answers that."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

FLAG = "self._p_changed = True"
_TEXTS = values.list_of(values.short_text, 0, 6)
_WORDS = values.list_of(values.word, 1, 6)


def append(d: Draw) -> Method:
    """One more at the end."""
    many, one = d.things(_TEXTS)
    a = d.arg(d.rng.choice((one, "value", "item")), values.short_text)
    generic = ("add", "add_item") if d.rng.random() < 0.15 else (f"add_{one}",)
    selector = d.say(
        f"add_{one}",
        f"add_{one}",
        f"add_{one}",
        f"append_{one}",
        f"push_{one}",
        f"include_{one}",
        f"new_{one}",
        f"remember_{one}",
        f"store_{one}",
        f"add_to_{many}",
        f"put_{one}",
        f"attach_{one}",
        f"collect_{one}",
        f"register_{one}",
        f"note_{one}",
        f"add_new_{one}",
        f"keep_{one}",
        *generic,
    )
    return Method(selector, f"self.{many}.append({a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: s[many] + [v]}) or s[many])


def append_once(d: Draw) -> Method:
    """One more, unless it is there."""
    many, one = d.things(_TEXTS)
    a = d.arg(one, values.member_of(many, values.short_text, 0.4))
    selector = d.say(
        f"add_{one}_once",
        f"add_unique_{one}",
        f"add_{one}_if_missing",
        f"add_{one}_if_new",
        f"ensure_{one}",
        f"include_{one}_once",
        f"add_{one}_unless_present",
    )
    return Method(
        selector,
        f"if {a} not in self.{many}:\n    self.{many}.append({a})\n    {FLAG}\nreturn self.{many}",
        lambda s, v: s.update({many: s[many] + [v] * (v not in s[many])}) or s[many],
    )


def add_at_front(d: Draw) -> Method:
    """One more at the start."""
    many, one = d.things(_TEXTS)
    a = d.arg(one, values.short_text)
    selector = d.say(
        f"prepend_{one}",
        f"add_{one}_first",
        f"add_{one}_at_start",
        f"insert_{one}_first",
        f"push_{one}_to_front",
        f"add_first_{one}",
        f"put_{one}_first",
        f"prepend_to_{many}",
    )
    return Method(
        selector, f"self.{many}.insert(0, {a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: [v, *s[many]]}) or s[many]
    )


def extend(d: Draw) -> Method:
    """Several more."""
    many, _one = d.things(_TEXTS)
    a = d.arg(many, values.list_of(values.word, 1, 3))
    selector = d.say(
        f"add_{many}", f"add_all_{many}", f"extend_{many}", f"append_{many}", f"add_several_{many}", f"add_many_{many}", f"include_{many}"
    )
    return Method(selector, f"self.{many}.extend({a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: s[many] + v}) or s[many])


def remove(d: Draw) -> Method:
    """One taken out, if it is there."""
    many, one = d.things(_TEXTS)
    a = d.arg(one, values.member_of(many, values.short_text, 0.7))
    selector = d.say(
        f"remove_{one}",
        f"remove_{one}",
        f"remove_{one}",
        f"drop_{one}",
        f"delete_{one}",
        f"discard_{one}",
        f"take_out_{one}",
        f"forget_{one}",
        f"remove_from_{many}",
        f"erase_{one}",
        f"cross_out_{one}",
        f"take_away_{one}",
    )

    def expectation(s: values.Slots, v: str) -> list[str]:
        place = next((index for index, item in enumerate(s[many]) if item == v), None)
        s[many] = s[many] if place is None else s[many][:place] + s[many][place + 1 :]
        return list(s[many])

    return Method(selector, f"if {a} in self.{many}:\n    self.{many}.remove({a})\n    {FLAG}\nreturn self.{many}", expectation)


def count(d: Draw) -> Method:
    """How many."""
    many, one = d.things(_TEXTS)
    selector = d.say(
        f"count_{many}",
        f"count_{many}",
        f"number_of_{many}",
        f"{one}_count",
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
    many, one = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:5]), 0, 6))
    a = d.arg(one, values.member_of(many, values.word, 0.8))
    selector = d.say(
        f"count_{one}",
        f"how_often_{one}",
        f"count_of_{one}",
        f"times_{one}",
        f"occurrences_of_{one}",
        f"count_of_{one}_in_{many}",
        f"how_many_times_{one}",
    )
    return Method(selector, f"return self.{many}.count({a})", lambda s, v: sum(item == v for item in s[many]))


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
    many, one = d.things(_TEXTS)
    shape, place = d.rng.choice(_ENDS)
    return Method(
        d.say(shape.format(x=many, i=one)),
        f"return self.{many}[{place}] if self.{many} else None",
        lambda s: s[many][place] if len(s[many]) else None,
    )


def take(d: Draw) -> Method:
    """The first or the last one, taken out."""
    many, one = d.things(_TEXTS)
    first = d.rng.random() < 0.5
    selectors = (
        (f"take_first_{one}", f"pop_first_{one}", f"take_next_{one}", f"remove_first_{one}", f"dequeue_{one}", f"shift_{one}")
        if first
        else (f"take_last_{one}", f"pop_{one}", f"remove_last_{one}", f"pop_last_{one}", f"undo_last_{one}")
    )
    place = "0" if first else ""
    body = f"if not self.{many}:\n    return None\ntaken = self.{many}.pop({place})\n{FLAG}\nreturn taken"

    def expectation(s: values.Slots) -> str | None:
        if s[many] == []:
            return None
        taken = s[many][0 if first else -1]
        s[many] = s[many][1:] if first else s[many][:-1]
        return str(taken)

    return Method(d.say(*selectors), body, expectation)


def extreme_length(d: Draw) -> Method:
    """The longest or the shortest one."""
    many, one = d.things(_TEXTS)
    longest = d.rng.random() < 0.6
    selectors: tuple[str, ...] = (
        (
            f"longest_{one}",
            f"longest_{one}",
            f"longest_of_{many}",
            f"find_longest_{one}",
            f"get_longest_{one}",
            f"longest_in_{many}",
            f"{one}_with_most_letters",
        )
        if longest
        else (f"shortest_{one}", f"shortest_{one}", f"shortest_of_{many}", f"find_shortest_{one}", f"{one}_with_fewest_letters")
    )
    if d.rng.random() < 0.08:
        selectors = ("longest",) if longest else ("shortest",)

    def expectation(s: values.Slots) -> str | None:
        best = None
        for item in s[many]:
            if best is None or (len(item) > len(best) if longest else len(item) < len(best)):
                best = item
        return best

    return Method(d.say(*selectors), f"return {'max' if longest else 'min'}(self.{many}, key=len) if self.{many} else None", expectation)


def ordered(d: Draw) -> Method:
    """Sorted, without changing the list."""
    many, _one = d.things(_TEXTS)
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
        lambda s: sorted(s[many], key=lambda item: len(item)),
    )


def backwards(d: Draw) -> Method:
    """The other way round, without changing the list."""
    many, _one = d.things(_TEXTS)
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


def rearrange(d: Draw) -> Method:
    """Sorted or reversed in place."""
    many, _one = d.things(_TEXTS)
    if d.rng.random() < 0.6:
        return Method(
            d.say(f"sort_{many}", f"sort_{many}", f"order_{many}", f"put_{many}_in_order", f"arrange_{many}"),
            f"self.{many}.sort()\n{FLAG}\nreturn self.{many}",
            lambda s: s.update({many: sorted(s[many])}) or s[many],
        )
    return Method(
        d.say(f"reverse_{many}", f"turn_{many}_around", f"flip_{many}"),
        f"self.{many}.reverse()\n{FLAG}\nreturn self.{many}",
        lambda s: s.update({many: s[many][::-1]}) or s[many],
    )


def joined(d: Draw) -> Method:
    """All in one text."""
    many, _one = d.things(_TEXTS)
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
    many, _one = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:5]), 0, 6))
    body = f"seen = []\nfor v in self.{many}:\n    if v not in seen:\n        seen.append(v)\nreturn seen"
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
    many, one = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:5]), 0, 6))
    return Method(
        d.say(
            f"count_unique_{many}",
            f"number_of_distinct_{many}",
            f"how_many_different_{many}",
            f"distinct_{one}_count",
            f"unique_{one}_count",
        ),
        f"return len(set(self.{many}))",
        lambda s: len(dict.fromkeys(s[many])),
    )


def has(d: Draw) -> Method:
    """Whether one is in the list."""
    many, one = d.things(_TEXTS)
    a = d.arg(one, values.member_of(many, values.word))
    if d.rng.random() < 0.2:
        return Method(
            d.say(f"lacks_{one}", f"is_{one}_missing", f"misses_{one}", f"has_no_{one}"),
            f"return {a} not in self.{many}",
            lambda s, v: v not in set(s[many]),
        )
    selector = d.say(
        f"has_{one}",
        f"has_{one}",
        f"has_{one}",
        f"contains_{one}",
        f"includes_{one}",
        f"knows_{one}",
        f"is_{one}",
        f"is_in_{many}",
        f"is_known_{one}",
        f"{many}_contain",
        f"{many}_include",
        f"{one}_exists",
    )
    return Method(selector, f"return {a} in self.{many}", lambda s, v: v in set(s[many]))


def any_at_all(d: Draw) -> Method:
    """Whether there are any, or none."""
    many, _one = d.things(values.list_of(values.short_text, 0, 2))
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


def clear(d: Draw) -> Method:
    """No more."""
    many, _one = d.things(_TEXTS)
    return Method(
        d.say(
            f"clear_{many}",
            f"clear_{many}",
            f"empty_{many}",
            f"remove_all_{many}",
            f"reset_{many}",
            f"forget_all_{many}",
            f"delete_all_{many}",
            f"drop_{many}",
        ),
        f"self.{many} = []\nreturn self.{many}",
        lambda s: s.update({many: []}) or [],
    )


def at(d: Draw) -> Method:
    """The one at a place."""
    many, one = d.things(values.list_of(values.word, 2, 6))
    a = d.arg("index", values.whole(0, 1))
    return Method(
        d.say(f"{one}_at", f"get_{one}_at", f"nth_{one}", f"{one}_number", f"{one}_at_index", f"pick_{one}"),
        f"return self.{many}[{a}]",
        lambda s, n: s[many][n],
    )


def place_of(d: Draw) -> Method:
    """Where one stands."""
    many, one = d.things(_WORDS)
    a = d.arg(one, values.member_of(many, values.word, 1))
    return Method(
        d.say(f"index_of_{one}", f"position_of_{one}", f"where_is_{one}", f"place_of_{one}", f"find_index_of_{one}"),
        f"return self.{many}.index({a})",
        lambda s, v: [item == v for item in s[many]].index(True),
    )


def some(d: Draw) -> Method:
    """The first or last few."""
    many, _one = d.things(_TEXTS)
    first = d.rng.random() < 0.6
    if d.rng.random() < 0.6:
        a = d.arg("count", values.whole(1, 4))
        selectors: tuple[str, ...] = (
            (f"first_{many}", f"top_{many}", f"first_few_{many}", f"take_{many}")
            if first
            else (f"last_{many}", f"latest_{many}", f"newest_{many}", f"recent_{many}")
        )
        return Method(
            d.say(*selectors),
            f"return self.{many}[:{a}]" if first else f"return self.{many}[-{a}:]",
            lambda s, n: s[many][:n] if first else s[many][max(0, len(s[many]) - n) :],
        )
    count, word = d.rng.choice(((2, "two"), (3, "three"), (5, "five")))
    selectors = (
        (f"first_{word}_{many}", f"top_{word}_{many}", f"first_{count}_{many}")
        if first
        else (f"last_{word}_{many}", f"latest_{word}_{many}", f"last_{count}_{many}")
    )
    return Method(
        d.say(*selectors),
        f"return self.{many}[:{count}]" if first else f"return self.{many}[-{count}:]",
        lambda s: s[many][:count] if first else s[many][max(0, len(s[many]) - count) :],
    )


def matching(d: Draw) -> Method:
    """Those that start with, end with, contain, are longer than the argument."""
    many, _one = d.things(_TEXTS)
    kind = d.rng.choice(("start", "end", "contain", "longer", "shorter"))
    if kind in ("longer", "shorter"):
        a = d.arg("length", values.whole(3, 8))
    else:
        a = d.arg("text", lambda rng, slots: rng.choice("abcdelmoprst"))
    selectors = {
        "start": (f"{many}_starting_with", f"{many}_beginning_with", f"{many}_that_start_with", f"find_{many}_starting_with"),
        "end": (f"{many}_ending_with", f"{many}_that_end_with"),
        "contain": (f"{many}_containing", f"{many}_with", f"{many}_that_contain", f"find_{many}", f"search_{many}", f"{many}_matching"),
        "longer": (f"{many}_longer_than", f"{many}_over_length"),
        "shorter": (f"{many}_shorter_than", f"{many}_under_length"),
    }[kind]
    test = {
        "start": f"v.startswith({a})",
        "end": f"v.endswith({a})",
        "contain": f"{a} in v",
        "longer": f"len(v) > {a}",
        "shorter": f"len(v) < {a}",
    }[kind]

    def expectation(s: values.Slots, given: str | int) -> list[str]:
        if isinstance(given, int):
            return [item for item in s[many] if (len(item) > given if kind == "longer" else given > len(item))]
        return [
            item
            for item in s[many]
            if {"start": item[: len(given)] == given, "end": item[-len(given) :] == given, "contain": item.find(given) >= 0}[kind]
        ]

    return Method(d.say(*selectors), f"return [v for v in self.{many} if {test}]", expectation)


def each(d: Draw) -> Method:
    """Each one changed: upper case, lengths, numbered."""
    many, one = d.things(_TEXTS)
    kind = d.rng.choice(("upper", "title", "length", "numbered", "bulleted"))
    selectors = {
        "upper": (f"uppercase_{many}", f"{many}_in_capitals", f"{many}_upper", f"shouted_{many}"),
        "title": (f"capitalized_{many}", f"{many}_capitalized"),
        "length": (f"{one}_lengths", f"lengths_of_{many}", f"{many}_lengths"),
        "numbered": (f"numbered_{many}", f"{many}_numbered", f"enumerate_{many}"),
        "bulleted": (f"bulleted_{many}", f"{many}_as_bullets", f"{many}_with_dashes"),
    }[kind]
    body = {
        "upper": f"[v.upper() for v in self.{many}]",
        "title": f"[v.capitalize() for v in self.{many}]",
        "length": f"[len(v) for v in self.{many}]",
        "numbered": f"[f'{{i + 1}}. {{v}}' for i, v in enumerate(self.{many})]",
        "bulleted": f"[f'- {{v}}' for v in self.{many}]",
    }[kind]

    def expectation(s: values.Slots) -> list[object]:
        made: list[object] = []
        for place, item in enumerate(s[many], 1):
            made.append(
                {
                    "upper": item.upper(),
                    "title": item.capitalize(),
                    "length": len(item),
                    "numbered": str(place) + ". " + item,
                    "bulleted": "- " + item,
                }[kind]
            )
        return made

    return Method(d.say(*selectors), f"return {body}", expectation)


def replace(d: Draw) -> Method:
    """One in the place of another."""
    many, one = d.things(_WORDS)
    a, b = d.arg("old", values.member_of(many, values.word, 0.8)), d.arg("new", values.word)
    body = f"self.{many} = [{b} if v == {a} else v for v in self.{many}]\nreturn self.{many}"
    return Method(
        d.say(f"replace_{one}", f"change_{one}", f"exchange_{one}", f"swap_{one}", f"substitute_{one}"),
        body,
        lambda s, v, w: s.update({many: [w if item == v else item for item in s[many]]}) or s[many],
    )


def both(d: Draw) -> Method:
    """Two lists: all together, or what they share."""
    (many, _), (more, _) = d.things(_WORDS, modified=0), d.things(_WORDS, modified=0)
    if d.rng.random() < 0.6:
        return Method(
            d.say(f"{many}_and_{more}", f"all_{many}_and_{more}", f"{many}_plus_{more}", f"combined_{many}_and_{more}"),
            f"return self.{many} + self.{more}",
            lambda s: [*s[many], *s[more]],
        )
    return Method(
        d.say(f"{many}_in_{more}", f"common_{many}_and_{more}", f"{many}_shared_with_{more}", f"{many}_also_in_{more}"),
        f"return [v for v in self.{many} if v in self.{more}]",
        lambda s: [item for item in s[many] if item in set(s[more])],
    )


def move(d: Draw) -> Method:
    """One moved from a list to another."""
    source, target, verbs = d.rng.choice(
        (
            ("todo", "done", ("finish", "complete", "check_off")),
            ("inbox", "archive", ("archive_it", "file", "put_away")),
            ("waiting", "served", ("serve",)),
            ("available", "lent", ("lend", "borrow")),
            ("open_tasks", "closed_tasks", ("close_task", "finish_task")),
            ("wanted", "owned", ("buy", "acquire")),
            ("unread", "read_books", ("read", "mark_read")),
            ("absent", "present", ("arrive", "check_in")),
        )
    )
    d.slot(source, values.list_of(values.word, 1, 5, distinct=True))
    d.slot(target, values.list_of(values.word, 0, 3))
    a = d.arg("item", values.member_of(source, values.word, 1))
    body = f"self.{source}.remove({a})\nself.{target}.append({a})\n{FLAG}"
    return Method(
        d.say(*verbs, f"move_to_{target}", f"move_from_{source}_to_{target}"),
        body,
        lambda s, v: s.update({source: [item for item in s[source] if item != v], target: s[target] + [v]}),
    )


def everything(d: Draw) -> Method:
    """How many letters altogether, or the initials of all."""
    many, _one = d.things(_WORDS)
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"letters_in_{many}", f"total_length_of_{many}", f"characters_in_{many}", f"{many}_total_length"),
            f"return sum(len(v) for v in self.{many})",
            lambda s: len("".join(s[many])),
        )
    return Method(
        d.say(f"initials_of_{many}", f"{many}_initials", f"first_letters_of_{many}"),
        f"return ''.join(v[0] for v in self.{many})",
        lambda s: "".join(item[:1] for item in s[many]),
    )


FAMILIES = (
    append,
    append,
    append,
    append_once,
    add_at_front,
    extend,
    remove,
    remove,
    count,
    count,
    count_of,
    end,
    end,
    take,
    extreme_length,
    extreme_length,
    ordered,
    backwards,
    rearrange,
    joined,
    joined,
    unique,
    count_unique,
    has,
    has,
    any_at_all,
    clear,
    at,
    place_of,
    some,
    matching,
    each,
    replace,
    both,
    move,
    everything,
)
