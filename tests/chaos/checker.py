"""What in a history cannot be, if every message is carried out once, in the order of its session, and stays. Pure.

An operation that was answered happened once; one that was refused did not; one whose outcome is unknown happened once or not at all.
Sessions have one message under way, so a session's operations are ordered, and those of different sessions are when one was
answered before the other was sent.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from tests.chaos.history import Final, Operation, World

Fault = Literal["lost", "doubled", "reordered", "invented", "stale", "unbalanced"]


class Violation(Struct, frozen=True):
    """Something that must not be."""

    fault: Fault
    what: str


def check(world: World, operations: Iterable[Operation], final: Final) -> list[Violation]:
    """Everything that cannot be."""
    by_session: dict[int, list[Operation]] = defaultdict(list)
    by_target: dict[tuple[str, int], list[Operation]] = defaultdict(list)
    for operation in operations:
        (
            by_session[operation.session] if operation.kind in ("note", "add", "read") else by_target[operation.kind, operation.target]
        ).append(operation)
    violations: list[Violation] = []
    for session in range(world.sessions):
        own = sorted(by_session[session], key=lambda operation: operation.seq)
        violations += _notes(session, [operation for operation in own if operation.kind == "note"], final.notes[session])
        violations += _own_counter(session, [operation for operation in own if operation.kind != "note"], final.counters[session])
    for number in range(world.shared):
        violations += _shared_counter(number, by_target["share", number], final.shared[number])
    for number in range(world.merged):
        violations += _total(f"merging counter {number}", by_target["merge", number], final.merged[number])
    payments = [operation for number in range(world.accounts) for operation in by_target["pay", number]]
    violations += _accounts(world, payments, final.accounts)
    for number in range(world.registers):
        violations += _register(number, by_target["swap", number], final.registers[number])
    return violations


def _notes(session: int, noted: Sequence[Operation], written: Sequence[int]) -> Iterator[Violation]:
    """The list holds the numbers of all answered notes, once each, in order; those of unknown outcome once or not at all."""
    where = f"notes of session {session}"
    status = {operation.seq: operation.status for operation in noted}
    for seq, times in Counter(written).items():
        if times > 1:
            yield Violation("doubled", f"{where}: {seq} stands {times} times")
        if status.get(seq, "error") == "error":
            yield Violation("invented", f"{where}: {seq} was refused or never sent, and stands")
    there = set(written)
    for operation in noted:
        if operation.status == "ok" and operation.seq not in there:
            yield Violation("lost", f"{where}: {operation.seq} was acknowledged and does not stand")
    for before, after in pairwise(written):
        if before > after:
            yield Violation("reordered", f"{where}: {before} stands before {after}")


def _own_counter(session: int, operations: Sequence[Operation], total: int) -> Iterator[Violation]:
    """Only this session adds: each answer and each read is the count so far."""
    where = f"counter of session {session}"
    least = most = 0
    for operation in operations:
        if operation.kind == "add":
            least += operation.status == "ok"
            most += operation.status != "error"
        if operation.status == "ok" and not least <= operation.result <= most:
            fault: Fault = "stale" if operation.kind == "read" else "lost" if operation.result < least else "doubled"
            yield Violation(fault, f"{where}: message {operation.seq} saw {operation.result}, not {least} to {most}")
    yield from _between(where, total, least, most)


def _shared_counter(number: int, operations: Sequence[Operation], total: int) -> Iterator[Violation]:
    """All add one and see the new value: no two see the same, and who was answered before another was sent saw less."""
    where = f"shared counter {number}"
    answered = [operation for operation in operations if operation.status == "ok"]
    for result, times in Counter(operation.result for operation in answered).items():
        if times > 1:
            yield Violation("lost", f"{where}: {times} messages saw {result}")
    highest, ended = 0, sorted(answered, key=lambda operation: operation.completed)
    index = 0
    for operation in sorted(answered, key=lambda operation: operation.invoked):
        while index < len(ended) and ended[index].completed < operation.invoked:
            highest = max(highest, ended[index].result)
            index += 1
        if operation.result <= highest:
            yield Violation("reordered", f"{where}: {operation.session}/{operation.seq} saw {operation.result} after {highest} was seen")
    yield from _total(where, operations, total)


def _total(where: str, operations: Sequence[Operation], total: int) -> Iterator[Violation]:
    answered = sum(operation.status == "ok" for operation in operations)
    return _between(where, total, answered, answered + sum(operation.status == "unknown" for operation in operations))


def _between(where: str, total: int, least: int, most: int) -> Iterator[Violation]:
    if total < least:
        yield Violation("lost", f"{where}: {total}, but {least} were acknowledged")
    if total > most:
        yield Violation("doubled", f"{where}: {total}, but at most {most} were sent")


def _accounts(world: World, payments: Sequence[Operation], balances: Sequence[int]) -> Iterator[Violation]:
    """Money is neither made nor lost, and each account has what the answered payments left in it."""
    if sum(balances) != world.accounts * world.money:
        yield Violation("unbalanced", f"the accounts hold {sum(balances)}, not {world.accounts * world.money}")
    least, most = [world.money] * world.accounts, [world.money] * world.accounts
    for payment in payments:
        amount, other = payment.values
        if payment.status == "ok":
            for bounds in (least, most):
                bounds[payment.target] -= amount
                bounds[other] += amount
        elif payment.status == "unknown":
            least[payment.target] -= amount
            most[other] += amount
    for number, balance in enumerate(balances):
        if not least[number] <= balance <= most[number]:
            yield Violation("unbalanced", f"account {number} holds {balance}, not {least[number]} to {most[number]}")


def _register(number: int, swaps: Sequence[Operation], value: int) -> Iterator[Violation]:
    """Every new value is used once, so those swaps that took place form one chain from 0 to the value at the end."""
    where = f"register {number}"
    done = [swap for swap in swaps if swap.status == "ok" and swap.result is True]
    perhaps = {swap.values[0]: swap.values[1] for swap in swaps if swap.status == "unknown"}
    following = {swap.values[0]: swap.values[1] for swap in done}
    for old, times in Counter(swap.values[0] for swap in done).items():
        if times > 1:
            yield Violation("doubled", f"{where}: {times} swaps replaced {old}")
    at, steps = 0, 0
    while at != value or at in following:
        after = following.get(at, perhaps.pop(at, None))
        if after is None:
            yield Violation("lost", f"{where}: it holds {value}, but the swaps lead to {at}")
            return
        steps += at in following
        at = after
    if steps < len(following):
        yield Violation("lost", f"{where}: {len(following) - steps} acknowledged swaps led nowhere")
