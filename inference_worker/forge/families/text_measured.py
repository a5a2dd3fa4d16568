"""What one text answers without being changed; `text` puts these families among its own."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_NAMED = words.NAMES + words.TEXTS


def _text(d: Draw, maker: values.Maker = values.short_text, pool: tuple[str, ...] = _NAMED + words.LONG_TEXTS) -> str:
    return d.slot(d.noun(pool, 0.15), maker)


_CASES = (
    (("uppercase_{x}", "{x}_in_capitals", "{x}_upper", "shout_{x}", "upper_{x}", "loud_{x}", "{x}_uppercase"), ".upper()", str.upper),
    (("lowercase_{x}", "{x}_lower", "lower_{x}", "small_{x}", "{x}_lowercase"), ".lower()", str.lower),
    (("title_case_{x}", "{x}_as_title", "titled_{x}", "{x}_title_case"), ".title()", str.title),
    (("capitalized_{x}", "{x}_capitalized"), ".capitalize()", str.capitalize),
    (("reversed_{x}", "{x}_backwards", "{x}_reversed", "backwards_{x}"), "[::-1]", lambda v: "".join(reversed(v))),
    (("trimmed_{x}", "stripped_{x}", "{x}_trimmed", "clean_{x}"), ".strip()", str.strip),
    (
        ("slug", "{x}_slug", "slug_of_{x}", "slugify_{x}", "slug_from_{x}"),
        ".lower().replace(' ', '-')",
        lambda v: "-".join(v.lower().split(" ")),
    ),
    (("{x}_words", "words_of_{x}", "words_in_{x}", "split_{x}"), ".split()", str.split),
    (("{x}_without_spaces", "{x}_no_spaces", "compact_{x}"), ".replace(' ', '')", lambda v: "".join(v.split(" "))),
    (("snake_case_{x}", "{x}_snake_case", "{x}_in_snake_case"), ".lower().replace(' ', '_')", lambda v: "_".join(v.lower().split(" "))),
)


def cased(d: Draw) -> Method:
    """A text in another form."""
    shapes, text, outcome = d.rng.choice(_CASES)
    slot = _text(d, values.phrase)
    return Method(d.say(d.rng.choice(shapes).format(x=slot)), f"return self.{slot}{text}", lambda s: outcome(s[slot]))


_MEASURES = (
    (("{x}_length", "length_of_{x}", "{x}_size", "letters_in_{x}", "how_long_is_{x}", "characters_in_{x}"), "len(self.{x})", len),
    (
        ("{x}_word_count", "word_count_of_{x}", "count_words_in_{x}", "number_of_words_in_{x}", "words_in_{x}_count", "word_count"),
        "len(self.{x}.split())",
        lambda v: len(v.split()),
    ),
    (("first_letter_of_{x}", "{x}_initial", "initial_of_{x}", "first_character_of_{x}"), "self.{x}[0]", lambda v: v[:1]),
    (("last_letter_of_{x}", "final_letter_of_{x}", "last_character_of_{x}"), "self.{x}[-1]", lambda v: v[-1:]),
    (("first_word_of_{x}", "{x}_first_word"), "self.{x}.split()[0]", lambda v: v.split()[0]),
    (("last_word_of_{x}", "{x}_last_word"), "self.{x}.split()[-1]", lambda v: v.rpartition(" ")[2]),
    (
        ("{x}_initials", "initials_of_{x}", "initials_from_{x}"),
        "''.join(w[0] for w in self.{x}.split())",
        lambda v: "".join(w[:1] for w in v.split()),
    ),
    (("is_{x}_palindrome", "{x}_is_palindrome", "is_palindrome"), "self.{x} == self.{x}[::-1]", lambda v: v == "".join(reversed(v))),
    (
        ("vowels_in_{x}", "count_vowels_in_{x}", "vowel_count_of_{x}"),
        "sum(1 for ch in self.{x} if ch in 'aeiou')",
        lambda v: sum(v.count(ch) for ch in "aeiou"),
    ),
    (
        ("longest_word_in_{x}", "longest_word_of_{x}", "{x}_longest_word"),
        "max(self.{x}.split(), key=len)",
        lambda v: sorted(v.split(), key=lambda w: -len(w))[0],
    ),
    (("is_{x}_empty", "is_{x}_blank"), "self.{x} == ''", lambda v: not v),
)


def measured(d: Draw) -> Method:
    """Something about a text."""
    shapes, text, outcome = d.rng.choice(_MEASURES)
    slot = _text(d, values.phrase)
    return Method(d.say(d.rng.choice(shapes).format(x=slot)), f"return {text.format(x=slot)}", lambda s: outcome(s[slot]))


def asked(d: Draw) -> Method:
    """Something about a text and an argument."""
    slot = _text(d, values.phrase)
    kind = d.rng.choice(("starts", "ends", "contains", "count", "prefix", "repeat", "equal", "equal"))
    if kind in ("prefix", "repeat"):
        a = d.arg("count", values.whole(1, 4))
    elif kind == "equal":
        a = d.arg("other", lambda rng, slots: slots[slot] if rng.random() < 0.5 else values.word(rng, slots))
    else:
        a = d.arg("text", lambda rng, slots: rng.choice(slots[slot]) if rng.random() < 0.4 else rng.choice(slots[slot].split()))
    selectors = {
        "starts": (f"{slot}_starts_with", f"does_{slot}_start_with", f"{slot}_begins_with"),
        "ends": (f"{slot}_ends_with", f"does_{slot}_end_with"),
        "contains": (f"{slot}_contains", f"{slot}_includes", f"does_{slot}_contain", f"{slot}_mentions", f"mentions_in_{slot}"),
        "count": (f"count_in_{slot}", f"how_often_in_{slot}", f"occurrences_in_{slot}"),
        "prefix": (f"first_letters_of_{slot}", f"{slot}_prefix", f"short_{slot}", f"{slot}_shortened_to", f"cut_{slot}"),
        "repeat": (f"repeat_{slot}", f"{slot}_repeated", f"repeated_{slot}"),
        "equal": (f"is_{slot}", f"{slot}_is", f"matches_{slot}", f"same_{slot}", f"{slot}_equals", f"has_{slot}"),
    }[kind]
    body = {
        "starts": f"self.{slot}.startswith({a})",
        "ends": f"self.{slot}.endswith({a})",
        "contains": f"{a} in self.{slot}",
        "count": f"self.{slot}.count({a})",
        "prefix": f"self.{slot}[:{a}]",
        "repeat": f"self.{slot} * {a}",
        "equal": f"self.{slot} == {a}",
    }[kind]

    def expectation(s: values.Slots, args: object) -> object:
        text = s[slot]
        if isinstance(args, int):
            return "".join(text[place] for place in range(min(args, len(text)))) if kind == "prefix" else "".join([text] * args)
        sought = str(args)
        return {
            "starts": text[: len(sought)] == sought,
            "ends": text[len(text) - len(sought) :] == sought,
            "contains": text.find(sought) >= 0,
            "count": len(text.split(sought)) - 1,
            "equal": text == args,
        }[kind]

    return Method(d.say(*selectors), f"return {body}", expectation)


def substituted(d: Draw) -> Method:
    """A word of a text replaced, without changing the slot."""
    slot = _text(d, values.phrase, words.LONG_TEXTS)
    a, b = d.arg("old", lambda rng, slots: rng.choice(slots[slot].split())), d.arg("new", values.word)
    return Method(
        d.say(f"{slot}_with_replaced", f"{slot}_replacing", f"{slot}_with_word_replaced", f"replaced_in_{slot}"),
        f"return self.{slot}.replace({a}, {b})",
        lambda s, v, w: w.join(s[slot].split(v)),
    )


def domain(d: Draw) -> Method:
    """Parts of an email address."""
    slot = d.slot(
        d.rng.choice(("email", "mail", "email_address", "contact")),
        lambda rng, slots: f"{rng.choice(words.WORDS)}@{rng.choice(words.WORDS)}.org",
    )
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"{slot}_domain", f"domain_of_{slot}", "domain", "mail_domain"),
            f"return self.{slot}.split('@')[1]",
            lambda s: s[slot].partition("@")[2],
        )
    return Method(
        d.say(f"{slot}_user", f"user_of_{slot}", "mail_user", "user_part"),
        f"return self.{slot}.split('@')[0]",
        lambda s: s[slot].partition("@")[0],
    )
