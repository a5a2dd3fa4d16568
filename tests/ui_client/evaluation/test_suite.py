"""Suites are checked as a whole before anything runs, and an error names the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from ui_client.evaluation.documents import bundle, object_names
from ui_client.evaluation.suite import SuiteBroken, cases, notes, read_suite
from uvm.protocol import decode_document

SMALL = Path(__file__).parents[3] / "benchmarks" / "suites" / "small.jsonl"


def line(**fields: Any) -> bytes:
    return json.dumps({"id": "a-1", "selector": "total", "slots": {"cost": 3}, "expect": {"result": 3}} | fields).encode()


def test_the_example_suite_has_twenty_tasks_of_all_kinds():
    tasks = read_suite(SMALL.read_bytes())
    assert len(tasks) == 20
    assert {task.grouped for task in tasks} == {"seen", "unseen", "examples", "refused", "hostile"}
    assert any(task.parents for task in tasks) and any(task.others for task in tasks) and any(task.kwargs for task in tasks)


@pytest.mark.parametrize(
    ("name", "fields", "group"),
    [
        ("dash", {"id": "seen-1"}, "seen"),
        ("slash", {"id": "new/1-2"}, "new"),
        ("dot", {"id": "x.1"}, "x"),
        ("whole", {"id": "x"}, "x"),
        ("said", {"id": "seen-1", "group": "mine"}, "mine"),
    ],
)
def test_a_group_is_what_the_id_begins_with_or_what_the_task_says(name, fields, group):
    (task,) = read_suite(line(**fields))
    assert task.grouped == group


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"selector": "_private"}, "selector"),
        ({"expect": {}}, "say one thing"),
        ({"expect": {"refused": True, "result": 1}}, "say one thing"),
        ({"expect": {"refused": True}, "check": [{"result": 1}]}, "none"),
        ({"expect": {"result": 1, "changed": {"maker.name": 2}}}, "there is no 'maker'"),
        ({"slots": {"owner": {"@": "maker"}}}, "refers to nothing"),
        ({"others": {"self": {}}}, "meaning of their own"),
        ({"examples": [{"args": [1]}]}, "expected"),
        ({"examples": [{"slots": {"weight": 1}, "result": 1}]}, "weight"),
        ({"check": [{"slots": {"cost": 1}}]}, "what is right"),
        ({"check": [{"others": {"maker": {}}, "result": 1}]}, "none of others"),
        ({"args": [2**64]}, "64 bits"),
        ({"args": "x"}, "args"),
    ],
)
def test_a_task_that_cannot_be_run_is_named_by_its_line_with_what_is_wrong(fields, why):
    with pytest.raises(SuiteBroken) as broken:
        read_suite(b"\n" + line() + b"\n" + line(id="b-2", **fields))
    assert "line 3: " in broken.value.message and why in broken.value.message
    assert "line 2" not in broken.value.message and broken.value.remedy


def test_what_is_no_json_an_id_twice_and_an_empty_suite_are_refused_too():
    for text, why in ((b"{", "line 1"), (line() + b"\n" + line(), "line 1 as well"), (b"\n \n", "no task"), (b"\xff{}", "line 1")):
        with pytest.raises(SuiteBroken, match=why):
            read_suite(text)


def test_a_check_takes_from_the_task_what_it_does_not_say():
    text = line(
        slots={"cost": 3, "kind": "a"},
        args=[1],
        expect={"changed": {"cost": 4}, "any_result": True},
        others={"maker": {"name": "Ida", "age": 4}},
        check=[
            {"slots": {"cost": 9}, "result": 1},
            {"args": [2], "changed": {"cost": 5}},
            {"others": {"maker": {"age": 5}}, "raises": "KeyError"},
        ],
    )
    (task,) = read_suite(text)
    first, result, effect, raises = cases(task)
    assert (first.slots, first.args) == ({"cost": 3, "kind": "a"}, [1]) and first.expect is task.expect
    assert (result.slots, result.args, result.judge_changed) == ({"cost": 9, "kind": "a"}, [1], False)
    assert effect.args == [2] and effect.judge_changed and effect.expect.any_result
    assert raises.expect.raises == "KeyError" and raises.others == {"maker": {"name": "Ida", "age": 5}}


def test_objects_of_each_case_are_of_their_own_and_refer_to_each_other():
    (task,) = read_suite(
        line(
            slots={"owner": {"@": "maker"}, "pair": {"ref": "maker"}, "odd": {"bytes": "x"}, "big": 2**60},
            parents=[{"tax": 1}, {"unit": "EUR"}],
            others={"maker": {"made": [{"@": "self"}]}},
            check=[{"slots": {"big": 1}, "result": 3}],
        )
    )
    bundled = bundle(task, cases(task))
    documents = {document.key: document for document in map(decode_document, bundled.objects)}
    assert object_names(task) == ["self", "parent1", "parent2", "maker"]
    assert bundled.roots == [f"{name}.{case}" for case in (0, 1) for name in object_names(task)]
    receiver = documents["self.1"]
    assert receiver.slots == {"owner": {"ref": "maker.1"}, "pair": {"ref": "maker.1"}, "odd": {"map": [["bytes", "x"]]}, "big": 1}
    assert documents["self.0"].slots["big"] == {"integer": str(2**60)}
    assert receiver.parents == [{"ref": "parent1.1"}] and documents["parent1.1"].parents == [{"ref": "parent2.1"}]
    assert documents["maker.0"].slots == {"made": [{"ref": "self.0"}]}


def test_a_note_of_the_author_is_no_part_of_the_task_and_a_check_may_say_what_is_right_as_the_task_does() -> None:
    task = {"id": "a", "selector": "size", "slots": {"n": 1}, "expect": {"result": 1}, "note": "easy"}
    checks = [{"slots": {"n": 2}, "result": 2}, {"slots": {"n": 2}, "expect": {"result": 2}, "by": "hand"}]
    text = json.dumps({**task, "check": checks}).encode()
    (read,) = read_suite(text)
    assert notes(text + b"\n\n" + line()) == {"note": 1}
    first, second, third = cases(read)
    assert first.expect.result == 1
    assert (second.slots, second.expect.result) == (third.slots, third.expect.result) == ({"n": 2}, 2)
