"""Lists of texts. A method that changes the list answers the list, one that takes something out answers that."""

from inference_worker.forge import values
from inference_worker.forge.draw import Draw, Method
from inference_worker.forge.families.lists_asked import (
    any_at_all,
    at,
    backwards,
    count,
    count_of,
    count_unique,
    end,
    everything,
    extreme_length,
    has,
    joined,
    ordered,
    place_of,
    unique,
)
from inference_worker.forge.families.lists_picked import both, each, matching, some

FLAG = "self._p_changed = True"
_TEXTS = values.list_of(values.short_text, 0, 6)
_WORDS = values.list_of(values.word, 1, 6)


def append(d: Draw) -> Method:
    """One more at the end."""
    many, singular = d.things(_TEXTS)
    a = d.arg(d.rng.choice((singular, "value", "item")), values.short_text)
    generic = ("add", "add_item") if d.rng.random() < 0.15 else (f"add_{singular}",)
    selector = d.say(
        f"add_{singular}",
        f"add_{singular}",
        f"add_{singular}",
        f"append_{singular}",
        f"push_{singular}",
        f"include_{singular}",
        f"new_{singular}",
        f"remember_{singular}",
        f"store_{singular}",
        f"add_to_{many}",
        f"put_{singular}",
        f"attach_{singular}",
        f"collect_{singular}",
        f"register_{singular}",
        f"note_{singular}",
        f"add_new_{singular}",
        f"keep_{singular}",
        *generic,
    )
    return Method(selector, f"self.{many}.append({a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: s[many] + [v]}) or s[many])


def append_once(d: Draw) -> Method:
    """One more, unless it is there."""
    many, singular = d.things(_TEXTS)
    a = d.arg(singular, values.member_of(many, values.short_text, 0.4))
    selector = d.say(
        f"add_{singular}_once",
        f"add_unique_{singular}",
        f"add_{singular}_if_missing",
        f"add_{singular}_if_new",
        f"ensure_{singular}",
        f"include_{singular}_once",
        f"add_{singular}_unless_present",
    )
    return Method(
        selector,
        f"if {a} not in self.{many}:\n    self.{many}.append({a})\n    {FLAG}\nreturn self.{many}",
        lambda s, v: s.update({many: s[many] + [v] * (v not in s[many])}) or s[many],
    )


def add_at_front(d: Draw) -> Method:
    """One more at the start."""
    many, singular = d.things(_TEXTS)
    a = d.arg(singular, values.short_text)
    selector = d.say(
        f"prepend_{singular}",
        f"add_{singular}_first",
        f"add_{singular}_at_start",
        f"insert_{singular}_first",
        f"push_{singular}_to_front",
        f"add_first_{singular}",
        f"put_{singular}_first",
        f"prepend_to_{many}",
    )
    return Method(
        selector, f"self.{many}.insert(0, {a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: [v, *s[many]]}) or s[many]
    )


def extend(d: Draw) -> Method:
    """Several more."""
    many, _singular = d.things(_TEXTS)
    a = d.arg(many, values.list_of(values.word, 1, 3))
    selector = d.say(
        f"add_{many}", f"add_all_{many}", f"extend_{many}", f"append_{many}", f"add_several_{many}", f"add_many_{many}", f"include_{many}"
    )
    return Method(selector, f"self.{many}.extend({a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: s[many] + v}) or s[many])


def remove(d: Draw) -> Method:
    """One taken out, if it is there."""
    many, singular = d.things(_TEXTS)
    a = d.arg(singular, values.member_of(many, values.short_text, 0.7))
    selector = d.say(
        f"remove_{singular}",
        f"remove_{singular}",
        f"remove_{singular}",
        f"drop_{singular}",
        f"delete_{singular}",
        f"discard_{singular}",
        f"take_out_{singular}",
        f"forget_{singular}",
        f"remove_from_{many}",
        f"erase_{singular}",
        f"cross_out_{singular}",
        f"take_away_{singular}",
    )

    def expectation(s: values.Slots, v: str) -> list[str]:
        place = next((index for index, text in enumerate(s[many]) if text == v), None)
        s[many] = s[many] if place is None else s[many][:place] + s[many][place + 1 :]
        return list(s[many])

    return Method(selector, f"if {a} in self.{many}:\n    self.{many}.remove({a})\n    {FLAG}\nreturn self.{many}", expectation)


def take(d: Draw) -> Method:
    """The first or the last one, taken out."""
    many, singular = d.things(_TEXTS)
    first = d.rng.random() < 0.5
    selectors = (
        (
            f"take_first_{singular}",
            f"pop_first_{singular}",
            f"take_next_{singular}",
            f"remove_first_{singular}",
            f"dequeue_{singular}",
            f"shift_{singular}",
        )
        if first
        else (f"take_last_{singular}", f"pop_{singular}", f"remove_last_{singular}", f"pop_last_{singular}", f"undo_last_{singular}")
    )
    place = "0" if first else ""
    body = f"if not self.{many}:\n    return None\ntaken = self.{many}.pop({place})\n{FLAG}\nreturn taken"

    def expectation(s: values.Slots) -> str | None:
        if s[many] == []:
            return None
        text = s[many][0 if first else -1]
        s[many] = s[many][1:] if first else s[many][:-1]
        return str(text)

    return Method(d.say(*selectors), body, expectation)


def rearrange(d: Draw) -> Method:
    """Sorted or reversed in place."""
    many, _singular = d.things(_TEXTS)
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


def clear(d: Draw) -> Method:
    """No more."""
    many, _singular = d.things(_TEXTS)
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


def replace(d: Draw) -> Method:
    """One in the place of another."""
    many, singular = d.things(_WORDS)
    a, b = d.arg("old", values.member_of(many, values.word, 0.8)), d.arg("new", values.word)
    body = f"self.{many} = [{b} if v == {a} else v for v in self.{many}]\nreturn self.{many}"
    return Method(
        d.say(f"replace_{singular}", f"change_{singular}", f"exchange_{singular}", f"swap_{singular}", f"substitute_{singular}"),
        body,
        lambda s, v, w: s.update({many: [w if text == v else text for text in s[many]]}) or s[many],
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
        lambda s, v: s.update({source: [text for text in s[source] if text != v], target: s[target] + [v]}),
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
