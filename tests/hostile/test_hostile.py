"""A part of the corpus on a real service: nothing does harm. `make hostile` tries all of it."""

from pathlib import Path

import pytest

from tests.hostile import attacks, methods
from tests.hostile.fortress import Fortress, siege
from tests.hostile.frames import fuzz
from tests.hostile.methods import HostileMethod

QUICK = {"time": 12, "memory": 8, "late": 16, "think": 5}
"""One of so many is tried here, where each takes up to its whole budget; else one of `OTHERS`."""
OTHERS = 4


def part(aims: set[str]) -> list[HostileMethod | attacks.ImageAttack]:
    """Some of each class, the same ones each time."""
    chosen: list[HostileMethod | attacks.ImageAttack] = []
    for aim in sorted(aims):
        of_aim = [attack for attack in (*methods.corpus(), *attacks.corpus()) if attack.aim == aim]
        chosen += of_aim[:: QUICK.get(aim, OTHERS)]
    return chosen


@pytest.mark.parametrize(
    "aims",
    [
        {"escape", "value", "end", "evade"},
        {"time", "memory", "late"},
        {"kernel", "primordial", "think"},
        {"own", "policy", "offer"},
        {"data", "session", "name"},
    ],
    ids=lambda aims: "-".join(sorted(aims)),
)
def test_nothing_in_the_corpus_does_harm(aims: set[str]) -> None:
    harmful = [trial for trial in siege(part(aims)) if trial.layer == "none"]
    assert not harmful


def test_every_frame_of_a_fuzzer_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    with Fortress(tmp_path / "var") as fortress:
        answers = fuzz(fortress.running.configuration.bridge_endpoint, 3000, seed=20)
        assert answers.total() == 3000
        assert not fortress.harm(policy=True)


def test_the_corpus_is_as_large_as_it_says_and_names_each_attack_once() -> None:
    offered, sent = methods.corpus(), attacks.corpus()
    assert len(offered) >= 600
    assert len(sent) >= 250
    assert len({(attack.aim, attack.name) for attack in (*offered, *sent)}) == len(offered) + len(sent)
