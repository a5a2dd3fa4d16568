"""A part of the corpus on a real service: nothing does harm. `make hostile` tries all of it."""

from pathlib import Path

from tests.hostile import attacks, methods
from tests.hostile.attacks import ImageAttack
from tests.hostile.fortress import FAULTS, Fortress, siege
from tests.hostile.frames import fuzz
from tests.hostile.methods import HostileMethod

DEAR = {"time": 32, "memory": 21, "late": 36, "think": 9}
"""One of so many is tried here, where each may take up to its whole budget; of the others one of `CHEAP`."""
CHEAP = 9


def part() -> list[HostileMethod | ImageAttack]:
    """Some of each class, the same ones each time."""
    chosen: list[HostileMethod | ImageAttack] = []
    corpus = (*methods.corpus(), *attacks.corpus())
    for aim in dict.fromkeys(attack.aim for attack in corpus):
        chosen += [attack for attack in corpus if attack.aim == aim][:: DEAR.get(aim, CHEAP)]
    return chosen


def test_nothing_in_the_corpus_does_harm() -> None:
    assert [trial for trial in siege(part(), apart=False) if trial.layer == "none"] == []


def test_every_frame_of_a_fuzzer_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    with Fortress(tmp_path / "var") as fortress:
        answers = fuzz(fortress.running.configuration.bridge_endpoint, 3000, seed=20)
        assert answers.total() == 3000 and not answers.keys() & FAULTS
        assert not fortress.harm(policy=True)


def test_the_corpus_is_as_large_as_it_says_and_names_each_attack_once() -> None:
    offered, sent = methods.corpus(), attacks.corpus()
    assert len(offered) >= 600
    assert len(sent) >= 250
    assert len({(attack.aim, attack.name) for attack in (*offered, *sent)}) == len(offered) + len(sent)
