"""What a refusal offers to choose from, read and said."""

import pytest

from ui_client.choices import MOST, OfferedChoice, in_words, offered
from uvm.protocol import Example, Reference

CART = Reference.parse("@2")


def test_choices_are_read_with_the_objects_that_they_refer_to() -> None:
    shown = {"example": {"args": [{"ref": "@2"}], "changed": {"owner": {"ref": "@2"}}, "slots": {"owner": None}}, "drafts": 3}
    (choice,) = offered({"choices": [shown]})
    assert choice == OfferedChoice(Example(args=[CART], changed={"owner": CART}, slots={"owner": None}), 3)
    assert in_words(choice, {CART: "cart"}) == "with owner None: owner becomes cart"


@pytest.mark.parametrize(
    "choices", [None, "x", {}, [None], [{}], [{"example": 5}], [{"example": {}}], [{"example": {"result": 1, "other": 2}}], [[1]]]
)
def test_what_is_no_choice_is_left_out(choices: object) -> None:
    assert offered({"choices": choices}) == ()


def test_no_more_are_offered_than_a_person_reads() -> None:
    assert len(offered({"choices": [{"example": {"result": number}} for number in range(100)]})) == MOST


def test_an_answer_that_changes_nothing_is_said_by_its_result() -> None:
    assert in_words(OfferedChoice(Example(result=12.5, changed={})), {}) == "12.5"
    assert in_words(OfferedChoice(Example(changed={})), {}) == "nothing changes"
