"""What methods of the language do when they run."""

from typing import Any

import pytest

from tests.uvm.language.bodies import BODIES
from tests.uvm.language.plain_hooks import PlainHooks, PlainObject, body, run
from uvm.errors import AuditRefused, Declined, NotAllowed, TicksSpent
from uvm.language.audit import audit
from uvm.language.compiler import Linker, compile_method
from uvm.objects import Counter, MergingSet

SAME_AS_PYTHON = [
    "return a + b * 2 - a / b // 1 % 3 ** 2",
    "return [a << 2, a >> 1, a & b, a | b, a ^ b, ~a, -a, +a, not a]",
    "return a < b <= 10 != 3",
    "return f'{a:>5}|{b:05.1f}|{a!r}|{b}|{{}}'",
    "x, (y, z) = a, (b, a)\nreturn [z, y, x]",
    "x = y = [a]\nx.append(b)\nreturn y",
    "x = [1, 2, 3, 4]\ndel x[0]\ndel x[1:]\nreturn x",
    "d = {'k': 1}\nd['k'] += 5\nd['n'] = a\ndel d['k']\nreturn d",
    "d = {'k': [1]}\nd['k'] += [2]\nd |= {'m': 1}\nreturn d",
    "return [x * y for x in range(4) if x % 2 for y in range(x)]",
    "return {x: y for x, y in zip('abc', range(9))}",
    "return sorted({x % 3 for x in range(9)})",
    "return sum(x for x in range(10) if x > a)",
    "f = lambda x, y=2: x * y\nreturn f(a) + f(a, y=3)",
    "return sorted(['bb', 'a', 'ccc'], key=lambda w: -len(w))",
    "return (max('abc'), min(3, 1, 2), max([], default=7), min([2, 1], key=lambda v: -v))",
    "n = 0\nwhile True:\n    n += 1\n    if n < 3:\n        continue\n    if n > 5:\n        break\nelse:\n    n = 99\nreturn n",
    "for i in range(3):\n    pass\nelse:\n    i = 7\nreturn i",
    "try:\n    return 1 / (a - a)\nexcept ZeroDivisionError as e:\n    return str(e)\nfinally:\n    b = 1",
    "try:\n    raise KeyError('gone')\nexcept (KeyError, IndexError) as e:\n    return str(e)",
    "try:\n    try:\n        int('x')\n    except ValueError:\n        raise\nexcept Exception:\n    return 'again'",
    "try:\n    assert a > 100, 'small'\nexcept Exception as e:\n    return str(e)",
    "return ' a,b '.strip().split(',') + 'x-y'.rsplit('-', 1)",
    "return ['Ab'.lower(), 'ab'.title(), 'ab'.find('b'), 'aXa'.replace('a', 'b', 1), '7'.zfill(3), 'x'.center(5, '*')]",
    "x = [3, 1, 2]\nx.sort(reverse=True)\nx.insert(0, 9)\nx.extend(i for i in range(2))\nx.reverse()\n"
    "return [x, x.pop(), x.index(1), x.count(1)]",
    "try:\n    raise Exception('own')\nexcept Exception as e:\n    return str(e)",
    "d = dict(a=1)\nd.update({'b': 2}, c=3)\nreturn [d.get('z', 0), d.setdefault('y', 5), d.pop('a'), d.keys() == ['b', 'c', 'y']][:3]",
    "s = set([1, 2])\ns.add(3)\ns.discard(9)\nreturn sorted(s.union([7]) | {8} - s)",
    "return [*range(3), *'ab', {**{'a': 1}, 'b': 2}]",
    "return ('abc'[1], 'abc'[-1], 'abcdef'[1:5:2], [1, 2, 3][::-1], (1, 2)[0])",
    "return a if a > b else b",
    "return a and b or 0",
    "return [abs(-3), bool(0), divmod(17, 5), float('2.5'), int('12'), int('ff', 16), round(2.567, 2), round(7, -1), len('abc')]",
    "return [list(enumerate('ab', 1)), list(reversed([1, 2])), tuple([1]), str(1.5), any([0, 1]), all([])]",
    "return a is None or a is not b",
    "return sum([[1], [2]], [])",
    "return 'a' 'b' f'{a}'",
    "return (2.0).is_integer() if False else 4.0.is_integer()",
    '"A documented method."\nreturn a',
]


@pytest.mark.parametrize("text", SAME_AS_PYTHON)
def test_a_method_gives_what_python_gives(text: str) -> None:
    source = body(text, "a=5, b=2")
    plain: dict[str, Any] = {}
    exec(source, plain)
    assert run(source) == plain["m"](None)


def test_self_is_read_assigned_and_marked() -> None:
    receiver = PlainObject({"n": 1, "tags": [], "d": {"k": [1]}})
    mark = "self._p_changed = True"
    text = f"self.n += 1\nself.tags.append(self.n)\n{mark}\nself.d['k'] += [2]\n{mark}\nself.a, self.b = 1, 2"
    receiver.methods["m"] = body(text)
    hooks = PlainHooks()
    hooks.run(receiver, "m")
    assert receiver.slots == {"n": 2, "tags": [2], "d": {"k": [1, 2]}, "a": 1, "b": 2}
    assert receiver.marked == 2
    # Every change in place was announced before it was made.
    assert any(container is receiver.slots["tags"] for container in hooks.announced)
    assert any(container is receiver.slots["d"] for container in hooks.announced)


def test_the_old_value_is_read_before_the_new_one_is_computed() -> None:
    receiver = PlainObject({"n": 1}, {"m": body("self.n += self.bump()"), "bump": "def bump(self):\n    self.n = 100\n    return 5\n"})
    PlainHooks().run(receiver, "m")
    assert receiver.slots["n"] == 6


def test_an_item_is_computed_once_though_it_is_read_and_written() -> None:
    methods = {"m": body("self.rows[self.next()] += 10"), "next": "def next(self):\n    self.calls += 1\n    return 0\n"}
    receiver = PlainObject({"calls": 0, "rows": [1, 2]}, methods)
    PlainHooks().run(receiver, "m")
    assert receiver.slots == {"calls": 1, "rows": [11, 2]}


def test_a_method_named_like_a_function_still_has_the_function() -> None:
    assert run("def max(self):\n    return max(self.xs)\n", {"xs": [1, 5, 2]}) == 5


def test_a_variable_may_be_named_like_a_function() -> None:
    assert run(body("sum = 1\nlist = [sum]\nreturn list")) == [1]


def test_counters_and_merging_sets_read_as_their_plain_values() -> None:
    slots = {"clones": Counter(3), "members": MergingSet(["a", "b"])}
    numbers = "self.clones > 4, self.clones + 1, f'{self.clones}', int(self.clones), sum([self.clones])"
    members = "[x for x in self.members], 'a' in self.members, len(self.members)"
    text = f"self.clones += 2\nreturn [{numbers}, {members}]"
    assert run(body(text), slots) == [True, 6, "5", 5, 5, ["a", "b"], True, 2]
    assert slots["clones"].plain() == 5
    assert type(slots["clones"]) is Counter


def test_merging_values_have_their_own_methods() -> None:
    values = "q = merging_queue()\nq.put(1)\nq.put(2)\ns = merging_set([1])\ns.add(2)\nc = counter(1)\nc.add(4)"
    text = f"{values}\nreturn [q.take(), q.values(), s.has(2), s.values(), c.value(), len(q)]"
    assert run(body(text)) == [1, [2], True, [1, 2], 5, 1]


def test_fields_and_buttons_are_bound_to_the_receiver() -> None:
    morphs = "field('price', self.price), button('Go', 'go'), items('t', [1]), graph('g', [1, 2]), row(label(3))"
    receiver = PlainObject({"price": 2.5}, {"show": f"def show(self):\n    return column({morphs})\n"})
    tree = PlainHooks().run(receiver, "show")
    assert tree["children"] == [
        {"morph": "field", "name": "price", "value": 2.5, "target": receiver},
        {"morph": "button", "text": "Go", "selector": "go", "target": receiver},
        {"morph": "list", "title": "t", "values": [1]},
        {"morph": "graph", "title": "g", "numbers": [1, 2]},
        {"morph": "row", "children": [{"morph": "label", "text": "3"}]},
    ]


def test_only_the_receivers_slots_are_assigned() -> None:
    with pytest.raises(NotAllowed):
        run(body("a.x = 1", "a"), {}, PlainObject())


def test_decline_ends_the_attempt_with_its_reason() -> None:
    with pytest.raises(Declined, match="no idea"):
        run(body("decline('no idea')"))


ROUNDS = [
    "for i in range(1000):\n    pass",
    "return [i for i in range(1000)]",
    "f = lambda i: i\nreturn [f(i) for i in range(1000)]",
    "return sum(1 for i in range(1000))",
    "i = 0\nwhile i < 1000:\n    i += 1",
]


@pytest.mark.parametrize("text", ROUNDS)
def test_each_round_costs(text: str) -> None:
    hooks = PlainHooks()
    hooks.run(PlainObject({}, {"m": body(text)}), "m")
    assert 50 <= hooks.spent < 10_000


def test_big_values_cost_more_than_small_ones() -> None:
    def cost(text: str) -> float:
        hooks = PlainHooks(10**9)
        hooks.run(PlainObject({}, {"m": body(text)}), "m")
        return hooks.spent

    for text in ("'a' * {}", "[0] * {}", "sorted(range({}))", "{{*range({})}}"):
        assert cost(f"return {text.format(100_000)}") > 1 + cost(f"return {text.format(10)}")


def test_spent_ticks_end_the_message_even_in_built_in_work() -> None:
    with pytest.raises(TicksSpent):
        run(body("return [sorted(range(100000)) for i in range(100)]"), ticks=500_000)


def test_refusals_name_line_rule_and_reason() -> None:
    with pytest.raises(AuditRefused) as caught:
        compile_method(body("x = 1\nreturn self.__class__"), "m")
    finding = {"line": 3, "rule": "names", "message": "the attribute __class__ begins with _", "fatal": True}
    assert caught.value.details["findings"] == [finding]


def test_globals_of_two_functions_are_apart() -> None:
    linker = Linker(PlainHooks())
    first, second = (linker.link(compile_method(body("return 1"), "m")) for _ in range(2))
    assert first.__globals__ is not second.__globals__
    assert first.__globals__["__builtins__"] == {}


@pytest.mark.parametrize(("parameters", "text"), BODIES)
def test_bodies_as_people_write_them_pass_untouched(parameters: str, text: str) -> None:
    source = body(text, parameters)
    verdict = audit(source, "m", len([name for name in parameters.split(",") if name.strip()]))
    assert verdict.ok, verdict.findings
    assert (verdict.source, verdict.inserted) == (source, 0)
