"""Ways out of Python's sandboxes: each works in plain Python, and is refused or contained by every layer alone that is said to hold it."""

from pathlib import Path

import pytest

from tests.hostile import alone, methods
from tests.hostile.alone import PAST, Verdict
from tests.hostile.escapes import Escape, corpus

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    return alone.verdicts(tmp_path_factory.mktemp("outside"))


def test_in_plain_python_every_one_of_them_gets_out() -> None:
    with alone.world() as here:
        assert [escape.name for escape in corpus() if not alone.works(escape, here)] == []


def test_each_layer_alone_holds_what_it_is_said_to_hold_and_nothing_is_said_too_little(seen: list[Verdict]) -> None:
    assert alone.unheld(seen) == []
    for layer, names in PAST.items():
        assert {verdict.name for verdict in seen if verdict.layer == layer and verdict.outcome == "through"} == names


@pytest.fixture
def confined(seen: list[Verdict]) -> list[Verdict]:
    """What was seen on a host that can confine a trial."""
    if not any(verdict.layer == "trial child" for verdict in seen):
        pytest.skip("this host lacks a layer of confinement without which no trial runs either")
    return seen


def test_each_is_held_by_the_guards_and_by_the_trial_child(confined: list[Verdict]) -> None:
    for layer in ("guards", "trial child"):
        assert sorted(verdict.name for verdict in confined if verdict.layer == layer) == sorted(escape.name for escape in corpus())


def test_the_table_in_the_document_is_this_one(confined: list[Verdict]) -> None:
    assert alone.table(confined) in DOCUMENT.read_text()


def test_what_was_rewritten_in_the_language_is_held_by_the_guards_alone() -> None:
    rewritten = [method for method in methods.corpus() if method.aim == "escape" and ": " not in method.name]
    assert len(rewritten) > 100
    with alone.world() as here:
        seen = [alone.by_guards(Escape("", method.name, "", method.body), here) for method in rewritten]
    assert [verdict for verdict in seen if verdict.outcome == "through"] == []
