"""The checker passes a history as it should be, and names what is lost, doubled, reordered or invented in one that is not."""

import random
from collections import defaultdict

import pytest
from msgspec.structs import replace

from tests.chaos.checker import check
from tests.chaos.history import Final, Operation, World, read, write

WORLD = World(sessions=3, money=100)


def sound(seed=1, length=400):
    """A history of a service that does what it promises, with some messages refused and some of unknown outcome."""
    drawn = random.Random(seed)
    operations, seqs, now = [], defaultdict(int), 0.0
    notes, counters = [[] for _ in range(3)], [0] * 3
    shared, merged, accounts, registers = [0, 0], [0, 0], [100] * 6, [0, 0]
    for number in range(length):
        session, kind = drawn.randrange(3), drawn.choice(["note", "add", "read", "share", "merge", "pay", "swap"])
        seqs[session] += 1
        status = drawn.choices(["ok", "error", "unknown"], [18, 1, 1])[0]
        happened = status == "ok" or (status == "unknown" and drawn.random() < 0.5)
        target, values, result = 0, [], None
        match kind:
            case "note" if happened:
                notes[session].append(seqs[session])
                result = len(notes[session])
            case "add" | "read":
                counters[session] += happened and kind == "add"
                result = counters[session]
            case "share" | "merge":
                target = drawn.randrange(2)
                (shared if kind == "share" else merged)[target] += happened
                result = shared[target]
            case "pay":
                target, other, amount = drawn.randrange(6), drawn.randrange(6), drawn.randrange(1, 10)
                values = [amount, other]
                accounts[target] -= amount * happened
                accounts[other] += amount * happened
            case "swap":
                target = drawn.randrange(2)
                values = [registers[target] if drawn.random() < 0.7 else -1, number + 1]
                result = registers[target] == values[0]
                if happened and result:
                    registers[target] = values[1]
        now += 2
        operations.append(Operation(session, seqs[session], kind, target, values, now, now + 1, status, result if status == "ok" else None))
    return operations, Final(notes, counters, shared, merged, accounts, registers)


def first(operations, kind, status="ok"):
    return next(index for index, operation in enumerate(operations) if (operation.kind, operation.status) == (kind, status))


def faults(operations, final):
    return {violation.fault for violation in check(WORLD, operations, final)}


@pytest.mark.parametrize("seed", range(20))
def test_a_history_as_it_should_be_passes(seed):
    assert check(WORLD, *sound(seed)) == []


def test_a_history_comes_back_from_its_file(tmp_path):
    operations, _ = sound()
    write(tmp_path / "history", operations)
    assert list(read(tmp_path / "history")) == operations


def changed(numbers, index, by):
    return [number + by * (place == index) for place, number in enumerate(numbers)]


@pytest.mark.parametrize("kind", ["note", "add", "share", "merge", "pay", "swap"])
def test_an_effect_that_was_acknowledged_and_is_gone_is_found(kind):
    operations, final = sound()
    operation = operations[first(operations, kind)]
    without = {
        "note": lambda: replace(
            final, notes=[[n for n in own if (s, n) != (operation.session, operation.seq)] for s, own in enumerate(final.notes)]
        ),
        "add": lambda: replace(final, counters=changed(final.counters, operation.session, -40)),
        "share": lambda: replace(final, shared=changed(final.shared, operation.target, -40)),
        "merge": lambda: replace(final, merged=changed(final.merged, operation.target, -40)),
        "pay": lambda: replace(final, accounts=changed(final.accounts, operation.target, operation.values[0])),
        "swap": lambda: replace(final, registers=[0, 0]),
    }[kind]()
    assert faults(operations, without) & {"lost", "unbalanced"}


@pytest.mark.parametrize("kind", ["note", "add", "share", "merge", "pay"])
def test_an_effect_that_happened_twice_is_found(kind):
    operations, final = sound()
    operation = operations[first(operations, kind)]
    twice = {
        "note": lambda: replace(final, notes=[own + [operation.seq] * (s == operation.session) for s, own in enumerate(final.notes)]),
        "add": lambda: replace(final, counters=changed(final.counters, operation.session, 40)),
        "share": lambda: replace(final, shared=changed(final.shared, operation.target, 40)),
        "merge": lambda: replace(final, merged=changed(final.merged, operation.target, 40)),
        "pay": lambda: replace(final, accounts=changed(final.accounts, operation.values[1], operation.values[0])),
    }[kind]()
    assert faults(operations, twice) & {"doubled", "unbalanced"}


@pytest.mark.parametrize(("kind", "by", "fault"), [("add", -1, "lost"), ("add", 1, "doubled"), ("read", -1, "stale"), ("share", 1, "lost")])
def test_a_single_answer_that_cannot_be_is_found(kind, by, fault):
    operations, final = sound(seed=3)
    # Only known outcomes before it, so that one more or less is one too many.
    operations = [one for one in operations if one.status != "unknown" or one.kind != kind]
    index = max(i for i, one in enumerate(operations) if (one.kind, one.status) == (kind, "ok"))
    wrong = operations[index]
    by = operations[first(operations, kind)].result - wrong.result if kind == "share" else by * 50
    assert fault in faults([*operations[:index], replace(wrong, result=wrong.result + by), *operations[index + 1 :]], final)


def test_two_notes_of_one_session_in_the_wrong_order_are_found():
    operations, final = sound()
    own = final.notes[1]
    assert faults(operations, replace(final, notes=[final.notes[0], [own[1], own[0], *own[2:]], final.notes[2]])) == {"reordered"}


def test_an_answer_older_than_one_that_had_been_seen_is_found():
    operations, final = sound()
    places = [i for i, one in enumerate(operations) if (one.kind, one.status, one.target) == ("share", "ok", 0)][:2]
    before, after = (operations[place] for place in places)
    operations[places[0]], operations[places[1]] = replace(before, result=after.result), replace(after, result=before.result)
    assert faults(operations, final) == {"reordered"}


def test_a_note_that_was_refused_and_stands_is_found():
    operations, final = sound()
    refused = operations[first(operations, "note", "error")]
    notes = [sorted([*own, refused.seq]) if session == refused.session else own for session, own in enumerate(final.notes)]
    assert faults(operations, replace(final, notes=notes)) == {"invented"}


def test_two_swaps_of_one_value_are_found():
    operations, final = sound()
    index = next(i for i, one in enumerate(operations) if one.kind == "swap" and one.result is True)
    again = replace(operations[index], session=0, seq=10_000, values=[operations[index].values[0], 999_999])
    assert "doubled" in faults([*operations, again], final)
