"""Suites: one task a line, in JSON. Reads and checks a whole suite before anything runs. Pure; any thread may call it.

The format is docs/evaluation.md's. What a slot, an argument or an expectation holds is a value of JSON, and `{"@": "name"}` in it refers to
an object of the task: `self` is the receiver, `parent1` its nearest prototype, any other one of `others`. Where a change is expected,
`{"@": "removed"}` is a slot that is gone afterwards.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from uvm.protocol import Example, Selector

SELF: Final = "self"
REMOVED: Final = {"@": "removed"}
MOST: Final = 100_000
"""Tasks of a suite."""
SHOWN: Final = 5
"""Bad lines that an error names."""

SlotName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")]
SlotMap = Annotated[dict[SlotName, Any], Meta(max_length=256)]
ChangedName = Annotated[str, Meta(min_length=1, max_length=260, pattern=r"^([A-Za-z][A-Za-z0-9_-]*\.)?[A-Za-z][A-Za-z0-9_]*\Z")]
ChangedMap = Annotated[dict[ChangedName, Any], Meta(max_length=1024)]
ErrorName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")]
Arguments = Annotated[list[Any], Meta(max_length=16)]
Keywords = Annotated[dict[SlotName, Any], Meta(max_length=16)]
ObjectName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9_-]*\Z")]

_RESERVED = re.compile(r"self|removed|parent[0-9]+")
_GROUP = re.compile(r"[-/.]")


class SuiteBroken(Exception):
    """A suite that cannot be run; the message names lines and what is wrong with them, `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class ExpectedOutcome(Struct, frozen=True, forbid_unknown_fields=True):
    """What is right. `changed`: the slots that differ afterwards, `slot` of the receiver or `other.slot`, each with its value then; left
    out: none. Without `result`, or with `any_result`, the effect alone is judged."""

    result: Any | UnsetType = UNSET
    changed: ChangedMap | UnsetType = UNSET
    any_result: bool = False
    raises: ErrorName | UnsetType = UNSET
    refused: bool = False
    contained: bool = False

    def __post_init__(self) -> None:
        statements = [
            self.refused,
            self.contained,
            self.raises is not UNSET,
            self.result is not UNSET or self.changed is not UNSET or self.any_result,
        ]
        if sum(statements) != 1:
            raise ValueError('say one thing: {"result": …, "changed": {…}}, {"raises": …}, {"refused": true} or {"contained": true}')

    @property
    def answerable(self) -> bool:
        """Whether there is a right answer to give."""
        return not (self.refused or self.contained)


class CheckCase(Struct, frozen=True):
    """Other values of the receiver's slots, and what is right then, said here or as in the task under `expect`.

    What is left out is as in the task: slots, arguments, `any_result`. Other fields are notes of the suite's author.
    """

    slots: SlotMap = {}
    others: dict[ObjectName, SlotMap] = {}
    args: Arguments | UnsetType = UNSET
    kwargs: Keywords | UnsetType = UNSET
    result: Any | UnsetType = UNSET
    changed: ChangedMap | UnsetType = UNSET
    raises: ErrorName | UnsetType = UNSET
    any_result: bool = False
    expect: ExpectedOutcome | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.expect is not UNSET:
            return
        if self.raises is UNSET and self.result is UNSET and self.changed is UNSET:
            raise ValueError("a check says what is right: result, changed, or raises")
        if self.raises is not UNSET and (self.result is not UNSET or self.changed is not UNSET):
            raise ValueError("a check that raises has no result, and has changed nothing: leave result and changed out")


class SuiteTask(Struct, frozen=True):
    """One line: the objects, the message, what the system may know of it (`examples`), and what it may not (`expect`, `check`).

    Other fields are notes of the suite's author: nobody else reads them.
    """

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    selector: Selector
    expect: ExpectedOutcome
    slots: SlotMap = {}
    parents: Annotated[list[SlotMap], Meta(max_length=16)] = []
    others: Annotated[dict[ObjectName, SlotMap], Meta(max_length=64)] = {}
    args: Arguments = []
    kwargs: Keywords = {}
    examples: Annotated[list[Example], Meta(max_length=32)] = []
    check: Annotated[list[CheckCase], Meta(max_length=64)] = []
    group: Annotated[str, Meta(max_length=128)] = ""

    @property
    def grouped(self) -> str:
        """The group it counts in: as it says, else what its id begins with."""
        return self.group or _GROUP.split(self.id, maxsplit=1)[0] or self.id


class SuiteCase(Struct, frozen=True):
    """One call to judge: the objects before it, the call, and what is right. `judge_changed` false: the effect is not looked at."""

    slots: dict[str, Any]
    others: dict[str, dict[str, Any]]
    args: list[Any]
    kwargs: dict[str, Any]
    expect: ExpectedOutcome
    judge_changed: bool = True


def cases(task: SuiteTask) -> list[SuiteCase]:
    """The call that is sent, then the others that the same method has to do right."""
    return [SuiteCase(task.slots, task.others, task.args, task.kwargs, task.expect), *(_case(task, check) for check in task.check)]


def _case(task: SuiteTask, check: CheckCase) -> SuiteCase:
    others = {name: {**slots, **check.others.get(name, {})} for name, slots in task.others.items()}
    changed = check.changed
    if check.expect is not UNSET:
        expect, changed = check.expect, check.expect.changed
    elif check.raises is not UNSET:
        expect = ExpectedOutcome(raises=check.raises)
    else:
        any_result = check.any_result or check.result is UNSET or task.expect.any_result
        expect = ExpectedOutcome(result=check.result, changed=check.changed, any_result=any_result)
    return SuiteCase(
        {**task.slots, **check.slots},
        others,
        task.args if check.args is UNSET else check.args,
        task.kwargs if check.kwargs is UNSET else check.kwargs,
        expect,
        # A check that tells no changes of a task that has some means its result alone.
        changed is not UNSET or not task.expect.changed,
    )


def read_suite(text: bytes) -> list[SuiteTask]:
    """The tasks of a suite, in order. Raises SuiteBroken, which names the lines."""
    decoder = msgspec.json.Decoder(SuiteTask)
    tasks: list[SuiteTask] = []
    wrong: list[str] = []
    lines_by_id: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            task = decoder.decode(line)
            _check(task)
            if task.id in lines_by_id:
                raise ValueError(f"the id {task.id!r} is that of line {lines_by_id[task.id]} as well")
        except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
            wrong.append(f"line {number}: {error}")
            continue
        lines_by_id[task.id] = number
        tasks.append(task)
    if wrong:
        more = f"; and {len(wrong) - SHOWN} lines more" if len(wrong) > SHOWN else ""
        raise SuiteBroken(
            "; ".join(wrong[:SHOWN]) + more, "mend the lines; docs/evaluation.md has the fields, with an example of each kind"
        )
    if not tasks:
        raise SuiteBroken("there is no task in it", "one task a line, in JSON: docs/evaluation.md")
    if len(tasks) > MOST:
        raise SuiteBroken(f"{len(tasks):,} tasks; {MOST:,} are allowed", "split it")
    return tasks


def notes(text: bytes) -> dict[str, int]:
    """Fields of a suite that can be read which are none of a task: each with how many lines have it."""
    task_fields = set(SuiteTask.__struct_fields__)
    counts = Counter(field for line in text.splitlines() if line.strip() for field in msgspec.json.decode(line) if field not in task_fields)
    return dict(counts)


def reference(value: Any) -> str | None:
    """The name that `{"@": name}` refers to; None for any other value. `{"ref": name}` says the same."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((key, name),) = value.items()
        if key in ("@", "ref") and isinstance(name, str):
            return name
    return None


def _check(task: SuiteTask) -> None:
    """What types do not say. Raises ValueError."""
    for name in task.others:
        if _RESERVED.fullmatch(name):
            raise ValueError(f"others cannot have {name!r}: self, removed and parent1, parent2 … have a meaning of their own")
    names = {SELF, *(f"parent{number}" for number in range(1, len(task.parents) + 1)), *task.others}
    contents: list[Any] = [task.slots, task.parents, task.others, task.args, task.kwargs]
    for example in task.examples:
        contents += [example.args, example.kwargs, example.slots, example.changed, example.result]
    for check in task.check:
        contents += [check.slots, check.others, check.args, check.kwargs]
    for value in contents:
        _check_value(value, names)
    right = [task.expect, *(check if check.expect is UNSET else check.expect for check in task.check)]
    changes = [outcome.changed for outcome in right if outcome.changed is not UNSET]
    for value in [*(outcome.result for outcome in right), *changes]:
        _check_value(value, names | {"removed"})
    for slot in (slot for changed in changes for slot in changed):
        owner, dot, _ = slot.rpartition(".")
        if dot and owner not in names:
            raise ValueError(f"changed names {slot!r}, and there is no {owner!r}; there are {', '.join(sorted(names))}")
    if not task.expect.answerable and task.check:
        raise ValueError("check is for tasks with a right answer; what is refused or contained has none")
    slots = set(task.slots).union(*task.parents)
    for example in task.examples:
        for slot in example.slots or {}:
            if slot not in slots:
                raise ValueError(f"an example gives a value to {slot!r}, which neither the object nor a parent has")
    for check in task.check:
        for name in check.others:
            if name not in task.others:
                raise ValueError(f"a check gives slots to {name!r}, which is none of others")


def _check_value(value: Any, names: Iterable[str]) -> None:
    for part in _parts(value):
        if isinstance(part, int) and not isinstance(part, bool) and not -(2**63) <= part < 2**64:
            raise ValueError(f"the integer {str(part)[:30]} has more than 64 bits")
        name = reference(part)
        if name is not None and "@" in part and name not in names:
            raise ValueError(f"{{'@': {name!r}}} refers to nothing; there are {', '.join(sorted(names))}")


def _parts(value: Any) -> Iterator[Any]:
    pending = [value]
    while pending:
        part = pending.pop()
        yield part
        if isinstance(part, Mapping):
            pending += part.values()
        elif isinstance(part, list):
            pending += part
