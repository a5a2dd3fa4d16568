"""Dicts of numbers by word, and of texts by word."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

FLAG = "self._p_changed = True"
_LEDGER = values.dict_of(values.word, values.whole(0, 60), 1, 5)
_BOOK = values.dict_of(values.word, values.short_text, 1, 5)


def _ledger(d: Draw) -> tuple[str, str]:
    slot = d.noun(words.LEDGERS, 0.15)
    d.slot(slot, _LEDGER)
    return slot, _singular(slot)


def _book(d: Draw) -> tuple[str, str]:
    slot = d.noun(words.BOOKS, 0.15)
    d.slot(slot, _BOOK)
    return slot, _singular(slot)


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def put(d: Draw) -> Method:
    """An entry set."""
    ledger = d.rng.random() < 0.5
    slot, singular = _ledger(d) if ledger else _book(d)
    a, b = d.arg("key", values.member_of(slot, values.word, 0.3)), d.arg("value", values.whole(0, 60) if ledger else values.short_text)
    selector = d.say(
        f"set_{singular}",
        f"set_{singular}_of",
        f"put_{singular}",
        f"set_{singular}_for",
        f"store_{singular}",
        f"put_in_{slot}",
        f"record_{singular}_for",
        f"add_{singular}_for",
        f"update_{singular}_of",
        f"add_to_{slot}",
        f"enter_{singular}",
    )
    return Method(
        selector, f"self.{slot}[{a}] = {b}\n{FLAG}\nreturn self.{slot}", lambda s, k, v: s.update({slot: {**s[slot], k: v}}) or s[slot]
    )


def get(d: Draw) -> Method:
    """An entry, 0 or None when it is missing."""
    ledger = d.rng.random() < 0.5
    slot, singular = _ledger(d) if ledger else _book(d)
    a = d.arg(d.rng.choice(("key", "name")), values.member_of(slot, values.word, 0.8))
    selector = d.say(
        f"{singular}_of",
        f"{singular}_of",
        f"{singular}_for",
        f"get_{singular}",
        f"look_up_{singular}",
        f"find_{singular}",
        f"{singular}_by_name",
        f"lookup_{singular}",
        f"get_{singular}_of",
        f"what_{singular}_has",
    )
    return Method(
        selector,
        f"return self.{slot}.get({a}, 0)" if ledger else f"return self.{slot}.get({a})",
        lambda s, k: dict(s[slot]).setdefault(k, 0 if ledger else None),
    )


def has(d: Draw) -> Method:
    """Whether there is an entry."""
    slot, singular = _ledger(d) if d.rng.random() < 0.5 else _book(d)
    a = d.arg("key", values.member_of(slot, values.word))
    selector = d.say(
        f"has_{singular}_of",
        f"has_{singular}_for",
        f"has_{singular}",
        f"knows_{singular}_of",
        f"is_in_{slot}",
        f"{slot}_contain",
        f"contains_{singular}",
        f"{slot}_has",
        f"has_entry_in_{slot}",
        f"has_key_in_{slot}",
    )
    return Method(selector, f"return {a} in self.{slot}", lambda s, k: k in list(s[slot]))


def add(d: Draw) -> Method:
    """An entry increased by the second argument."""
    slot, singular = _ledger(d)
    a, b = d.arg("key", values.member_of(slot, values.word, 0.6)), d.arg("amount", values.whole(1, 20))
    selector = d.say(
        f"add_{slot}",
        f"add_{singular}_to",
        f"increase_{singular}_of",
        f"add_to_{singular}_of",
        f"increase_{slot}",
        f"raise_{singular}_of",
        f"give_{slot}",
        f"increment_{slot}_by",
        f"restock_{slot}",
    )
    return Method(
        selector,
        f"self.{slot}[{a}] = self.{slot}.get({a}, 0) + {b}\n{FLAG}\nreturn self.{slot}[{a}]",
        lambda s, k, v: s.update({slot: {**s[slot], k: s[slot].get(k, 0) + v}}) or s[slot][k],
    )


def one_more(d: Draw) -> Method:
    """An entry increased by one."""
    slot, singular = _ledger(d)
    a = d.arg("key", values.member_of(slot, values.word, 0.6))
    selector = d.say(
        f"increment_{singular}",
        f"increment_{slot}",
        f"count_{singular}",
        f"add_one_{singular}",
        f"increment_{singular}_of",
        f"bump_{singular}",
        f"one_more_{singular}",
        f"record_{singular}",
        f"increment_{singular}_for",
        f"tally_{singular}",
    )
    return Method(
        selector,
        f"self.{slot}[{a}] = self.{slot}.get({a}, 0) + 1\n{FLAG}\nreturn self.{slot}[{a}]",
        lambda s, k: s.update({slot: {**s[slot], k: s[slot].get(k, 0) + 1}}) or s[slot][k],
    )


def keys(d: Draw) -> Method:
    """The keys, in order or sorted."""
    slot, singular = _ledger(d) if d.rng.random() < 0.5 else _book(d)
    if d.rng.random() < 0.35:
        return Method(
            d.say(f"sorted_{slot}_keys", f"sorted_keys_of_{slot}", f"{slot}_keys_sorted", f"names_in_{slot}_sorted"),
            f"return sorted(self.{slot})",
            lambda s: sorted(k for k, _ in s[slot].items()),
        )
    return Method(
        d.say(
            f"{slot}_keys",
            f"keys_of_{slot}",
            f"names_in_{slot}",
            f"who_is_in_{slot}",
            f"{singular}_names",
            f"{slot}_names",
            f"list_{slot}",
            f"entries_in_{slot}",
        ),
        f"return list(self.{slot})",
        lambda s: [k for k, _ in s[slot].items()],
    )


def listed_values(d: Draw) -> Method:
    """The values."""
    slot, singular = _ledger(d) if d.rng.random() < 0.5 else _book(d)
    return Method(
        d.say(f"{singular}_values", f"values_of_{slot}", f"{slot}_values", f"all_{slot}", f"just_the_{slot}"),
        f"return list(self.{slot}.values())",
        lambda s: [v for _, v in s[slot].items()],
    )


def total(d: Draw) -> Method:
    """The sum of the values."""
    slot, singular = _ledger(d)
    selector = d.say(
        f"total_{slot}",
        f"total_{slot}",
        f"total_{singular}",
        f"sum_of_{slot}",
        f"{slot}_total",
        f"overall_{slot}",
        f"sum_{slot}",
        f"all_{slot}_together",
        f"combined_{slot}",
    )
    return Method(selector, f"return sum(self.{slot}.values())", lambda s: sum(v for _, v in s[slot].items()))


def average(d: Draw) -> Method:
    """The mean of the values, 0 of nothing."""
    slot, singular = _ledger(d)
    return Method(
        d.say(f"average_{singular}", f"average_{slot}", f"mean_{singular}", f"average_of_{slot}"),
        f"return sum(self.{slot}.values()) / len(self.{slot}) if self.{slot} else 0",
        lambda s: sum(s[slot].values()) / (len(s[slot]) or 1),
    )


def leader(d: Draw) -> Method:
    """The key with the largest or the smallest value, None of nothing."""
    slot, singular = _ledger(d)
    d.slots[slot] = lambda rng, slots: (
        dict(zip(rng.sample(words.WORDS, 4), rng.sample(range(60), 4), strict=True)) if rng.random() < 0.9 else {}
    )
    most = d.rng.random() < 0.6
    selectors = (
        (
            f"largest_{singular}",
            f"most_{slot}",
            f"highest_{singular}_key",
            f"who_has_most_{slot}",
            f"top_of_{slot}",
            f"leader_in_{slot}",
            f"key_with_most_{slot}",
            f"best_in_{slot}",
            f"winner_by_{slot}",
        )
        if most
        else (
            f"fewest_{slot}",
            f"who_has_fewest_{slot}",
            f"lowest_in_{slot}",
            f"key_with_least_{slot}",
            f"smallest_{singular}",
            f"last_in_{slot}",
        )
    )
    return Method(
        d.say(*selectors),
        f"return {'max' if most else 'min'}(self.{slot}, key=lambda k: self.{slot}[k]) if self.{slot} else None",
        lambda s: next((k for k, v in s[slot].items() if v == sorted(s[slot].values())[-1 if most else 0]), None),
    )


def top_value(d: Draw) -> Method:
    """The largest or smallest value."""
    slot, singular = _ledger(d)
    high = d.rng.random() < 0.6
    selectors = (
        (f"highest_{singular}", f"max_{singular}", f"top_{singular}", f"maximum_{singular}")
        if high
        else (f"lowest_{singular}", f"min_{singular}", f"minimum_{singular}")
    )
    return Method(
        d.say(*selectors),
        f"return {'max' if high else 'min'}(self.{slot}.values()) if self.{slot} else None",
        lambda s: sorted(s[slot].values())[-1 if high else 0] if s[slot] else None,
    )


def remove(d: Draw) -> Method:
    """An entry taken out, if it is there."""
    slot, singular = _ledger(d) if d.rng.random() < 0.5 else _book(d)
    a = d.arg("key", values.member_of(slot, values.word, 0.7))
    selector = d.say(
        f"remove_{singular}_of",
        f"remove_{singular}",
        f"delete_{singular}",
        f"drop_{singular}",
        f"forget_{singular}_of",
        f"remove_from_{slot}",
        f"delete_from_{slot}",
        f"take_out_of_{slot}",
        f"delete_{singular}_for",
    )
    return Method(
        selector,
        f"self.{slot}.pop({a}, None)\n{FLAG}\nreturn self.{slot}",
        lambda s, k: s.update({slot: {x: v for x, v in s[slot].items() if x != k}}) or s[slot],
    )


def count(d: Draw) -> Method:
    """How many entries."""
    slot, singular = _ledger(d) if d.rng.random() < 0.5 else _book(d)
    return Method(
        d.say(f"count_{slot}", f"number_of_{slot}", f"how_many_{slot}", f"{slot}_count", f"size_of_{slot}", f"{singular}_count"),
        f"return len(self.{slot})",
        lambda s: sum(1 for _ in s[slot]),
    )


def beyond(d: Draw) -> Method:
    """The keys whose values are above or below."""
    slot, singular = _ledger(d)
    a = d.arg("limit", values.whole(5, 50))
    above = d.rng.random() < 0.6
    selectors = (
        (f"keys_with_{slot}_above", f"who_has_more_{slot}_than", f"names_with_{slot}_above", f"keys_with_{singular}_over")
        if above
        else (f"keys_with_{slot}_below", f"who_has_less_{slot}_than", f"names_with_{slot}_below", f"keys_with_{singular}_under")
    )
    return Method(
        d.say(*selectors),
        f"return [k for k, v in self.{slot}.items() if v {'>' if above else '<'} {a}]",
        lambda s, n: [k for k in s[slot] if (s[slot][k] > n if above else s[slot][k] < n)],
    )


def lines(d: Draw) -> Method:
    """An entry a line."""
    slot, _ = _ledger(d) if d.rng.random() < 0.5 else _book(d)
    return Method(
        d.say(f"{slot}_lines", f"lines_of_{slot}", f"{slot}_as_lines", f"print_{slot}", f"{slot}_list"),
        f"return [f'{{k}}: {{v}}' for k, v in self.{slot}.items()]",
        lambda s: [f"{k}: {s[slot][k]}" for k in s[slot]],
    )


def setting(d: Draw) -> Method:
    """A value inside a dict under a fixed key."""
    slot = d.slot(
        d.rng.choice(("settings", "options", "config", "preferences", "profile", "address", "properties", "details", "attributes")),
        values.constant({}),
    )
    key = d.noun(words.TEXTS, 0)
    others = [word for word in d.rng.sample(words.TEXTS, 3) if word != key][:2]
    order = d.rng.sample([key, *others], 1 + len(others))
    d.slots[slot] = lambda rng, slots: {word: rng.choice(words.WORDS) for word in order}
    if d.rng.random() < 0.6:
        return Method(
            d.say(f"get_{key}", f"current_{key}", key, f"{key}_setting", f"my_{key}", f"read_{key}"),
            f"return self.{slot}['{key}']",
            lambda s: s[slot][key],
        )
    a = d.arg("value", values.word)
    return Method(
        d.say(f"set_{key}", f"change_{key}", f"choose_{key}", f"update_{key}", f"use_{key}"),
        f"self.{slot}['{key}'] = {a}\n{FLAG}\nreturn self.{slot}",
        lambda s, v: s.update({slot: {**s[slot], key: v}}) or s[slot],
    )


def group(d: Draw) -> Method:
    """A list under a key gets one more."""
    slot = d.noun(
        ("groups", "lists", "teams", "shelves", "classes", "tracks", "sections", "rooms", "routes", "baskets", "folders", "boards"), 0.1
    )
    d.slot(slot, values.dict_of(values.word, values.list_of(values.word, 0, 3), 1, 3))
    a, b = d.arg("key", values.member_of(slot, values.word, 0.6)), d.arg("value", values.word)
    body = f"self.{slot}.setdefault({a}, []).append({b})\n{FLAG}\nreturn self.{slot}[{a}]"
    singular = {"shelves": "shelf", "classes": "class"}.get(slot.rpartition("_")[2], slot.removesuffix("s"))
    return Method(
        d.say(f"add_to_{slot}", f"add_to_{singular}", f"put_in_{singular}", f"append_to_{singular}", f"file_in_{singular}"),
        body,
        lambda s, k, v: s.update({slot: {**s[slot], k: [*s[slot].get(k, []), v]}}) or s[slot][k],
    )


def count_values(d: Draw) -> Method:
    """How often each value of a list appears."""
    many, singular = d.things(values.list_of(lambda rng, slots: rng.choice(words.WORDS[:4]), 0, 6))
    body = f"return {{v: self.{many}.count(v) for v in self.{many}}}"
    return Method(
        d.say(
            f"{singular}_counts",
            f"count_each_{singular}",
            f"{singular}_frequencies",
            f"how_often_each_{singular}",
            f"{singular}_histogram",
            f"counts_of_{many}",
        ),
        body,
        lambda s: {v: s[many].count(v) for v in s[many]},
    )


FAMILIES = (
    put,
    put,
    get,
    get,
    has,
    add,
    one_more,
    keys,
    listed_values,
    total,
    average,
    leader,
    top_value,
    remove,
    count,
    beyond,
    lines,
    setting,
    group,
    count_values,
)
