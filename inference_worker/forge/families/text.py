"""Texts made from slots and arguments."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_NAMED = words.NAMES + words.TEXTS


def _text(d: Draw, maker: values.Maker = values.short_text, pool: tuple[str, ...] = _NAMED + words.LONG_TEXTS) -> str:
    return d.slot(d.noun(pool, 0.15), maker)


def _named(d: Draw) -> str:
    """A slot with a name in it, the only one."""
    d.shunned |= set(words.NAMES)
    return d.slot("name" if d.rng.random() < 0.65 else d.rng.choice(words.NAMES), values.name)


def full_name(d: Draw) -> Method:
    """First and last name, in one order or the other."""
    first, last = d.rng.choice(
        (("first_name", "last_name"), ("given_name", "family_name"), ("first", "last"), ("forename", "surname"), ("firstname", "lastname"))
    )
    d.shunned |= set(words.NAMES)
    d.slot(first, values.person)
    d.slot(last, lambda rng, slots: rng.choice(words.FAMILY_NAMES))
    kind = d.rng.random()
    if kind < 0.6:
        return Method(
            d.say("full_name", "full_name", "whole_name", "complete_name", "display_name", "get_full_name", "fullname"),
            f"return f'{{self.{first}}} {{self.{last}}}'",
            lambda s: s[first] + " " + s[last],
        )
    if kind < 0.8:
        return Method(
            d.say("formal_name", "last_name_first", "sorted_name", "name_for_index", "sort_name"),
            f"return f'{{self.{last}}}, {{self.{first}}}'",
            lambda s: s[last] + ", " + s[first],
        )
    return Method(
        d.say("initials", "get_initials", "name_initials"), f"return self.{first}[0] + self.{last}[0]", lambda s: s[first][:1] + s[last][:1]
    )


def greet(d: Draw) -> Method:
    """Hello to the argument, or to the object's own name."""
    name = _named(d)
    word, verbs = d.rng.choice(
        (
            ("Hello", ("greet", "greet", "say_hello", "hello", "greeting", "welcome_text")),
            ("Hello", ("greet", "say_hello", "hello")),
            ("Goodbye", ("say_goodbye", "goodbye", "farewell")),
            ("Welcome", ("welcome", "say_welcome")),
            ("Good morning", ("good_morning", "say_good_morning", "wish_good_morning")),
            ("Thank you", ("thank", "say_thanks")),
        )
    )
    if d.rng.random() < 0.6:
        a = d.arg("who", values.person)
        return Method(
            d.say(*verbs, *[f"{verb}_person" for verb in verbs[:1]]), f"return f'{word}, {{{a}}}!'", lambda s, who: word + ", " + who + "!"
        )
    return Method(d.say(*verbs), f"return f'{word}, {{self.{name}}}!'", lambda s: word + ", " + s[name] + "!")


def introduce(d: Draw) -> Method:
    """I am …"""
    name = _named(d)
    kind = d.rng.random()
    if kind < 0.5:
        return Method(
            d.say("introduce_yourself", "introduce", "who_are_you", "introduction", "say_name", "present", "tell_name"),
            f"return f'I am {{self.{name}}}.'",
            lambda s: "I am " + s[name] + ".",
        )
    if kind < 0.75:
        return Method(
            d.say(f"my_{name}_is", f"say_my_{name}", f"tell_your_{name}"),
            f"return f'My {name} is {{self.{name}}}.'",
            lambda s: "My " + name + " is " + s[name] + ".",
        )
    word = d.noun(words.TEXTS, 0)
    d.slot(word, values.word)
    return Method(
        d.say(f"{name}_and_{word}", f"{name}_with_{word}"),
        f"return f'{{self.{name}}} ({{self.{word}}})'",
        lambda s: s[name] + " (" + s[word] + ")",
    )


def describe(d: Draw) -> Method:
    """Every plain slot with its name, in order, in one line."""
    names = d.fill(0, 7)
    for pool, maker in ((words.TEXTS, values.short_text), (words.LEVELS, values.number)):
        if d.rng.random() < 0.8 or not names:
            names.append(d.slot(d.noun(pool, 0.15), maker))
    made = {name: maker(d.rng, {}) for name, maker in d.slots.items()}
    shown = [name for name in names if isinstance(made[name], (str, int, float))]
    selector = d.say(
        "describe",
        "describe",
        "describe",
        "description_line",
        "describe_yourself",
        "summary_line",
        "as_text",
        "to_text",
        "to_string",
        "describe_it",
        "short_description",
        "one_line",
        "as_line",
        "state_line",
        "overview",
    )
    if selector in names or not shown:
        selector = "describe"
    inside = ", ".join(f"{name}: {{self.{name}}}" for name in shown)
    return Method(selector, f"return f'{inside}'", lambda s: ", ".join(name + ": " + str(s[name]) for name in shown))


def describe_some(d: Draw) -> Method:
    """The slots that the selector names."""
    names = [d.slot(d.noun(words.TEXTS + words.LEVELS, 0.1), values.short_text) for _ in range(d.rng.choice((1, 2, 2, 3)))]
    joined = "_and_".join(names)
    selector = d.say(
        f"describe_{joined}", f"describe_{joined}", f"{joined}_line", f"{joined}_text", f"label_{joined}", f"tell_{joined}_line"
    )
    inside = ", ".join(f"{name}: {{self.{name}}}" for name in names)
    return Method(selector, f"return f'{inside}'", lambda s: ", ".join(f"{name}: {s[name]}" for name in names))


def joined(d: Draw) -> Method:
    """Two or three slots next to each other, with what the selector says between them."""
    names = [d.slot(d.noun(words.TEXTS, 0.1), values.word) for _ in range(d.rng.choice((2, 2, 3)))]
    separator, word = d.rng.choice(((" ", "space"), (" ", "space"), ("-", "dash"), (", ", "comma"), ("/", "slash"), ("_", "underscore")))
    shapes = ("_".join(names) + "_text", "_with_".join(names) + "_text", "_then_".join(names)) if separator == " " else ()
    selector = d.say(*shapes, f"{'_'.join(names)}_with_{word}", f"{word}ed_{'_'.join(names)}", f"{'_and_'.join(names)}_with_{word}_between")
    return Method(
        selector, f"return f'{separator.join(f'{{self.{name}}}' for name in names)}'", lambda s: separator.join(s[name] for name in names)
    )


def address(d: Draw) -> Method:
    """Street, city and what follows, as on a letter."""
    names = ["street", *d.rng.sample(("zip_code", "city", "country", "region"), d.rng.choice((1, 2, 2, 3)))]
    for name in names:
        d.slot(name, values.short_text)
    return Method(
        d.say("full_address", "address_line", "mailing_address", "address_text", "postal_address", "whole_address"),
        f"return f'{', '.join(f'{{self.{name}}}' for name in names)}'",
        lambda s: ", ".join(s[name] for name in names),
    )


_CASES = (
    (("uppercase_{x}", "{x}_in_capitals", "{x}_upper", "shout_{x}", "upper_{x}", "loud_{x}", "{x}_uppercase"), ".upper()", str.upper),
    (("lowercase_{x}", "{x}_lower", "lower_{x}", "small_{x}", "{x}_lowercase"), ".lower()", str.lower),
    (("title_case_{x}", "{x}_as_title", "titled_{x}", "{x}_title_case"), ".title()", str.title),
    (("capitalized_{x}", "{x}_capitalized", "capitalize_{x}"), ".capitalize()", str.capitalize),
    (("reversed_{x}", "{x}_backwards", "{x}_reversed", "backwards_{x}"), "[::-1]", lambda v: "".join(reversed(v))),
    (("trimmed_{x}", "stripped_{x}", "{x}_trimmed", "clean_{x}"), ".strip()", str.strip),
    (
        ("slug", "{x}_slug", "slug_of_{x}", "slugify_{x}", "slug_from_{x}"),
        ".lower().replace(' ', '-')",
        lambda v: "-".join(v.lower().split(" ")),
    ),
    (("{x}_words", "words_of_{x}", "words_in_{x}", "split_{x}"), ".split()", str.split),
    (("{x}_without_spaces", "{x}_no_spaces", "compact_{x}"), ".replace(' ', '')", lambda v: "".join(v.split(" "))),
    (("{x}_with_underscores", "snake_case_{x}", "{x}_snake_case"), ".lower().replace(' ', '_')", lambda v: "_".join(v.lower().split(" "))),
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

    def expectation(s: values.Slots, given: object) -> object:
        text = s[slot]
        if isinstance(given, int):
            return "".join(text[place] for place in range(min(given, len(text)))) if kind == "prefix" else "".join([text] * given)
        sought = str(given)
        return {
            "starts": text[: len(sought)] == sought,
            "ends": text[len(text) - len(sought) :] == sought,
            "contains": text.find(sought) >= 0,
            "count": len(text.split(sought)) - 1,
            "equal": text == given,
        }[kind]

    return Method(d.say(*selectors), f"return {body}", expectation)


def extended(d: Draw) -> Method:
    """A text with the argument added to it."""
    slot = _text(d, values.phrase, words.LONG_TEXTS)
    a = d.arg("text", values.phrase)
    kind = d.rng.choice(("append", "append", "space", "prepend"))
    if kind == "append":
        return Method(
            d.say(f"append_to_{slot}", f"extend_{slot}", f"add_to_{slot}", f"append_text_to_{slot}", f"continue_{slot}"),
            f"self.{slot} += {a}\nreturn self.{slot}",
            lambda s, v: s.update({slot: s[slot] + v}) or s[slot],
        )
    if kind == "space":
        return Method(
            d.say(f"add_word_to_{slot}", f"append_word_to_{slot}", f"add_words_to_{slot}"),
            f"self.{slot} += ' ' + {a}\nreturn self.{slot}",
            lambda s, v: s.update({slot: f"{s[slot]} {v}"}) or s[slot],
        )
    return Method(
        d.say(f"prepend_to_{slot}", f"put_before_{slot}", f"start_{slot}_with", f"prefix_{slot}_with"),
        f"self.{slot} = {a} + self.{slot}\nreturn self.{slot}",
        lambda s, v: s.update({slot: "".join((v, s[slot]))}) or s[slot],
    )


def changed(d: Draw) -> Method:
    """A text changed in place."""
    slot = _text(d, values.phrase)
    verb, text, outcome = d.rng.choice(
        (("uppercase", ".upper()", str.upper), ("lowercase", ".lower()", str.lower), ("trim", ".strip()", str.strip))
    )
    return Method(
        d.say(f"make_{slot}_{verb}", f"turn_{slot}_to_{verb}", f"change_{slot}_to_{verb}"),
        f"self.{slot} = self.{slot}{text}\nreturn self.{slot}",
        lambda s: s.update({slot: outcome(s[slot])}) or s[slot],
    )


def substituted(d: Draw) -> Method:
    """A word of a text replaced, without changing the slot."""
    slot = _text(d, values.phrase, words.LONG_TEXTS)
    a, b = d.arg("old", lambda rng, slots: rng.choice(slots[slot].split())), d.arg("new", values.word)
    return Method(
        d.say(f"{slot}_with_replaced", f"{slot}_replacing", f"{slot}_with_word_replaced", f"replaced_in_{slot}"),
        f"return self.{slot}.replace({a}, {b})",
        lambda s, v, w: w.join(s[slot].split(v)),
    )


def with_unit(d: Draw) -> Method:
    """A number with its unit, or with a word that the selector says."""
    slot = d.slot(d.noun(words.LEVELS + words.MONEY, 0.1), values.number)
    if d.rng.random() < 0.5:
        unit = d.slot(d.rng.choice(("unit", "currency", "symbol", "suffix", "measure_unit")), values.word)
        return Method(
            d.say(f"{slot}_with_{unit}", f"{slot}_text", f"{slot}_and_{unit}", f"{slot}_label"),
            f"return f'{{self.{slot}}} {{self.{unit}}}'",
            lambda s: str(s[slot]) + " " + s[unit],
        )
    word = d.rng.choice(("euros", "dollars", "grams", "meters", "points", "liters", "minutes", "credits", "degrees", "coins"))
    return Method(
        d.say(f"{slot}_in_words_with_{word}", f"{slot}_text_in_{word}", f"{slot}_as_{word}_text"),
        f"return f'{{self.{slot}}} {word}'",
        lambda s: f"{s[slot]} {word}",
    )


def shaped_by_example(d: Draw) -> Method:
    """A format that only the example shows."""
    slot = _text(d, values.word)
    d.exampled = 1.0
    left, right = d.rng.choice(
        (
            ("<", ">"),
            ("[", "]"),
            ("(", ")"),
            ('"', '"'),
            ("*", "*"),
            ("#", ""),
            ("@", ""),
            ("", "!"),
            ("", "?"),
            ("~ ", ""),
            ("-- ", " --"),
            ("$", ""),
            (">> ", ""),
            ("", "..."),
        )
    )
    selector = d.say(
        f"{slot}_label",
        f"{slot}_badge",
        f"{slot}_tag",
        f"{slot}_mark",
        f"decorated_{slot}",
        f"{slot}_heading",
        f"format_{slot}",
        f"pretty_{slot}",
        f"styled_{slot}",
    )
    return Method(selector, f"return f'{left}{{self.{slot}}}{right}'", lambda s: left + s[slot] + right)


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


FAMILIES = (
    full_name,
    greet,
    greet,
    introduce,
    describe,
    describe,
    describe,
    describe_some,
    joined,
    address,
    cased,
    cased,
    measured,
    measured,
    asked,
    asked,
    extended,
    changed,
    substituted,
    with_unit,
    shaped_by_example,
    domain,
)
