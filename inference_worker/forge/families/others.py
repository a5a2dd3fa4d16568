"""Sends to other objects, and to methods that the object already has."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_ROLES = (
    "owner",
    "creator",
    "manager",
    "keeper",
    "captain",
    "neighbour",
    "teacher",
    "driver",
    "partner",
    "parent_obj",
    "supplier",
    "editor",
    "leader",
    "author",
    "guide",
    "home",
    "engine",
    "account",
    "wallet",
    "warehouse",
)
_GROUPS = (
    "members",
    "children",
    "parts",
    "objects",
    "rooms",
    "students",
    "workers",
    "accounts",
    "ships",
    "books",
    "orders",
    "pets",
    "machines",
    "players",
    "sensors",
    "shelves",
    "products",
    "friends",
)


def ask(d: Draw) -> Method:
    """A slot of another object."""
    role = d.noun(_ROLES, 0)
    word = d.noun(words.TEXTS + words.LEVELS + ("name", "name"), 0)
    d.slot(role, values.object_with(**{word: values.short_text}))
    return Method(
        d.say(f"{role}_{word}", f"{role}_{word}", f"{word}_of_{role}", f"get_{role}_{word}", f"ask_{role}_{word}"),
        f"return self.{role}.{word}",
        lambda s: getattr(s[role], word),
    )


def tell(d: Draw) -> Method:
    """A slot of another object set."""
    role = d.noun(_ROLES, 0)
    word = d.noun(words.TEXTS + words.LEVELS, 0)
    d.slot(role, values.object_with(**{word: values.short_text}))
    a = d.arg(word, values.short_text)
    return Method(
        d.say(f"set_{role}_{word}", f"set_{word}_of_{role}", f"change_{role}_{word}", f"give_{role}_{word}", f"tell_{role}_{word}"),
        f"self.{role}.setSlot_value_('{word}', {a})",
        lambda s, v: setattr(s[role], word, v),
    )


def each(d: Draw) -> Method:
    """A slot of every object in a list."""
    group = d.noun(_GROUPS, 0)
    word = d.noun((*words.TEXTS, "name", "name", "name", "title"), 0)
    d.slot(group, values.list_of(values.object_with(**{word: values.short_text}), 1, 5))
    return Method(
        d.say(f"{word}s_of_{group}", f"{group}_{word}s", f"list_{word}s_of_{group}", f"{word}s_of_all_{group}", f"all_{word}s_of_{group}"),
        f"return [o.{word} for o in self.{group}]",
        lambda s: [getattr(o, word) for o in s[group]],
    )


def total(d: Draw) -> Method:
    """A number of every object in a list, summed."""
    group = d.noun(_GROUPS, 0)
    word = d.noun(words.MONEY + words.LEVELS + ("age", "size", "length"), 0)
    d.slot(group, values.list_of(values.object_with(**{word: values.number}), 1, 5))
    return Method(
        d.say(f"total_{word}", f"total_{word}_of_{group}", f"{word}_of_all_{group}", f"sum_of_{word}_of_{group}", f"{group}_{word}_total"),
        f"return sum(o.{word} for o in self.{group})",
        lambda s: sum(getattr(o, word) for o in s[group]),
    )


def count(d: Draw) -> Method:
    """How many objects."""
    group = d.noun(_GROUPS, 0)
    d.slot(group, values.list_of(values.reference, 1, 6))
    return Method(
        d.say(f"count_{group}", f"number_of_{group}", f"how_many_{group}", f"{group}_count"),
        f"return len(self.{group})",
        lambda s: sum(1 for _ in s[group]),
    )


def add(d: Draw) -> Method:
    """One more object."""
    group = d.noun(_GROUPS, 0)
    singular = {"children": "child", "shelves": "shelf"}.get(group, group.removesuffix("s"))
    d.slot(group, values.list_of(values.reference, 1, 4))
    a = d.arg(singular, values.reference)
    return Method(
        d.say(f"add_{singular}", f"add_{singular}", f"include_{singular}", f"add_to_{group}", f"attach_{singular}", f"register_{singular}"),
        f"self.{group}.append({a})\nself._p_changed = True\nreturn self.{group}",
        lambda s, v: s.update({group: [*s[group], v]}) or s[group],
    )


def known(d: Draw) -> Method:
    """A number combined with what a method of the object answers."""
    slot, method = (
        d.slot(d.noun(words.MONEY + words.LEVELS, 0.1), values.number),
        d.noun(
            (
                "tax",
                "shipping",
                "discount",
                "penalty",
                "surplus",
                "overhead",
                "interest",
                "loss",
                "refund_due",
                "extra_charge",
                "correction",
            ),
            0,
        ),
    )
    d.slot(method, values.known_method(values.number))
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"{slot}_with_{method}", f"{slot}_plus_{method}", f"{slot}_including_{method}"),
            f"return self.{slot} + self.{method}()",
            lambda s: s[slot] + s[method].result,
        )
    return Method(
        d.say(f"{slot}_minus_{method}", f"{slot}_after_{method}", f"{slot}_less_{method}", f"{slot}_without_{method}"),
        f"return self.{slot} - self.{method}()",
        lambda s: s[slot] - s[method].result,
    )


FAMILIES = (ask, ask, tell, each, total, count, add, known)
