"""Parts of a list of texts, and each of its items changed; `lists` puts these families among its own."""

from inference_worker.forge import values
from inference_worker.forge.draw import Draw, Method

_TEXTS = values.list_of(values.short_text, 0, 6)
_WORDS = values.list_of(values.word, 1, 6)


def some(d: Draw) -> Method:
    """The first or last few."""
    many, _singular = d.things(_TEXTS)
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
    many, _singular = d.things(_TEXTS)
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

    def expectation(s: values.Slots, args: str | int) -> list[str]:
        if isinstance(args, int):
            return [text for text in s[many] if (len(text) > args if kind == "longer" else args > len(text))]
        return [
            text
            for text in s[many]
            if {"start": text[: len(args)] == args, "end": text[-len(args) :] == args, "contain": text.find(args) >= 0}[kind]
        ]

    return Method(d.say(*selectors), f"return [v for v in self.{many} if {test}]", expectation)


def each(d: Draw) -> Method:
    """Each one changed: upper case, lengths, numbered."""
    many, singular = d.things(_TEXTS)
    kind = d.rng.choice(("upper", "title", "length", "numbered", "bulleted"))
    selectors = {
        "upper": (f"uppercase_{many}", f"{many}_in_capitals", f"{many}_upper", f"shouted_{many}"),
        "title": (f"capitalized_{many}", f"{many}_capitalized"),
        "length": (f"{singular}_lengths", f"lengths_of_{many}", f"{many}_lengths"),
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
        outcomes: list[object] = []
        for place, text in enumerate(s[many], 1):
            outcomes.append(
                {
                    "upper": text.upper(),
                    "title": text.capitalize(),
                    "length": len(text),
                    "numbered": str(place) + ". " + text,
                    "bulleted": "- " + text,
                }[kind]
            )
        return outcomes

    return Method(d.say(*selectors), f"return {body}", expectation)


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
        lambda s: [text for text in s[many] if text in set(s[more])],
    )
