"""The router's accuracy on messages it has never seen, against always asking one persona and against the rule of words; cost and size.

Messages are drawn from the forge's families. Nobody knows which persona is right for a message, so the label is a rule of ours, by the
personas' charters: what shows or words something (`display`, `text`) is robin's; what asks or summarizes many values (the families in
`BABS`) is babs's; what judges, or declines (`conditions`, `declining`, two of `flags`) is alfred's; the rest is brick's. It measures
whether the router finds such a boundary from examples, not whether the boundary is the best one.

Held out are, separately, words (slots and selectors of the forge's test side, all families) and whole families (a fifth of each persona's,
on words of the test side, the mean of `SPLITS` draws). `from its own drafts`: the router learns only from what the image would see: the
drafts of a persona that the installed rule asks do if it has the label, and else they do not.

At the end the router lives where its drafts fail at random: with personas that are equally good, and with one that is better. `entropy`:
of whom is asked first, as a share of the largest possible one, over each of some intervals.
"""

import importlib.util
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

from ZODB.serialize import ObjectWriter

from inference_worker.forge import render
from inference_worker.forge.dataset import tasks
from inference_worker.forge.draw import Task
from inference_worker.forge.families import FAMILIES
from uvm.image.codex import PRIMORDIAL
from uvm.image.message_object import SHOWN_SLOTS
from uvm.objects import MergingVector, UvmObject
from uvm.runtime import router
from uvm.runtime.router import EXPLORATION, Facts, drawn, features, kind, learn, probabilities, ranked, weights

PERSONAS = ("robin", "brick", "babs", "alfred")
BABS = {
    "arithmetic": "sum_of_likes sum_of_named average_of_likes",
    "dicts": "keys listed_values total average leader top_value count beyond count_values",
    "lists": "count count_of take extreme_length ordered unique count_unique any_at_all place_of some matching has end",
    "others": "total each count",
    "rows": "total column find where extreme",
    "series": "total average extreme spread beyond ordered running end count weighted",
}
STREAM = 3000
HELD_OUT = 2000
CURVE = (30, 100, 300, 1000, 3000)
SPLITS = 5
INTERVAL = 300
"""Messages of an interval."""

Sample = tuple[Facts, str]


def label(family: str) -> str:
    """The persona whose charter covers the family."""
    group, _, name = family.partition(".")
    if group in ("display", "text"):
        return "robin"
    if group in ("conditions", "declining") or family in ("flags.ask", "flags.combine"):
        return "alfred"
    return "babs" if name in BABS.get(group, "").split() else "brick"


def sample(task: Task) -> Sample:
    """What the router gets to see of a task, and the label."""
    slots = {name: kind(render.value(value)) for name, value in list(task.slots.items())[:SHOWN_SLOTS]}
    return Facts(task.selector, slots, len(task.arguments)), label(task.family)


def installed_rule() -> Callable[[str, list[tuple[str, float]]], list[str]]:
    """`personasFor_` as a new image has it, as a function of the selector and of what the router answers."""
    scope: dict[str, Any] = {}
    exec((PRIMORDIAL / "pLLM_obj" / "personasFor_.method").read_text(), scope)

    def rule(selector: str, answer: list[tuple[str, float]]) -> list[str]:
        personas: list[str] = scope["personasFor_"](SimpleNamespace(routed_=lambda _: answer), SimpleNamespace(selector=selector))
        return personas

    return rule


RULE = installed_rule()


def taught(stream: Sequence[Sample]) -> UvmObject:
    """A router that was told of each message whose drafts would do, and whose would not."""
    learner = router.new(PERSONAS)
    for facts, persona in stream:
        learn(learner, facts, [persona], True)
        learn(learner, facts, [name for name in PERSONAS if name != persona], False)
    return learner


def lived(stream: Sequence[Sample]) -> UvmObject:
    """A router that saw only what became of the drafts of the personas that its image asked."""
    learner = router.new(PERSONAS)
    for facts, persona in stream:
        personas = RULE(facts.selector, drawn(learner, facts))
        if persona in personas:
            learn(learner, facts, [persona], True)
        if others := [name for name in personas if name != persona]:
            learn(learner, facts, others, False)
    return learner


def fallible(stream: Sequence[Sample], success: Mapping[str, float], exploration: float, seed: int) -> list[Counter[str]]:
    """Whom a router asks first, interval by interval, whose personas' drafts do with these probabilities, whatever the message."""
    learner, rng, intervals = router.new(list(success)), Random(seed), list[Counter[str]]()
    for number, (facts, _) in enumerate(stream):
        if number % INTERVAL == 0:
            intervals.append(Counter())
        first = RULE(facts.selector, drawn(learner, facts, exploration))[0]
        intervals[-1][first] += 1
        learn(learner, facts, [first], rng.random() < success[first])
    return intervals


def evenness(asked: Counter[str], personas: int) -> float:
    """The entropy of whom was asked, as a share of the largest possible one."""
    shares = [count / asked.total() for count in asked.values() if count]
    return -sum(part * math.log(part) for part in shares) / math.log(personas)


def accuracy(learner: UvmObject, samples: Sequence[Sample]) -> float:
    """How often the likeliest persona is the label."""
    vectors = weights(learner)
    right = 0
    for facts, persona in samples:
        chances = probabilities(vectors, features(facts))
        right += max(chances, key=lambda name: chances[name]) == persona
    return right / len(samples)


def rule_accuracy(learner: UvmObject, samples: Sequence[Sample]) -> tuple[float, float, float]:
    """With the installed rule: how often the first persona asked is the label, how often one of them is, and how many are asked."""
    choices = [(RULE(facts.selector, drawn(learner, facts)), persona) for facts, persona in samples]
    first = sum(personas[0] == persona for personas, persona in choices)
    among = sum(persona in personas for personas, persona in choices)
    return first / len(samples), among / len(samples), sum(len(personas) for personas, _ in choices) / len(samples)


def row(name: str, *columns: str) -> None:
    """One line of the table."""
    print(f"{name:<46}" + "".join(f"{column:>16}" for column in columns))


def main() -> None:
    """Print the tables."""
    stream = [sample(task) for task in tasks(1, STREAM, "train")]
    words = [sample(task) for task in tasks(2, HELD_OUT, "test")]
    share = Counter(persona for _, persona in words)
    print(f"{len(FAMILIES)} families; labels of the held-out messages: " + ", ".join(f"{name} {share[name]}" for name in PERSONAS))
    constant = max(share, key=lambda name: share[name])
    empty = router.new(PERSONAS)
    labelled, own = taught(stream), lived(stream)
    families = [unseen_families(split) for split in range(SPLITS)]

    def mean(figures: Sequence[float]) -> str:
        return f"{100 * sum(figures) / len(figures):.1f} %"

    row("accuracy on held-out messages", "unseen words", "unseen families")
    row(
        f"always one persona (the best one, {constant})",
        mean([share[constant] / len(words)]),
        mean([max(sum(persona == name for _, persona in unseen) for name in PERSONAS) / len(unseen) for _, _, unseen in families]),
    )
    row("the rule of words", mean([rule_accuracy(empty, words)[0]]), mean([rule_accuracy(empty, unseen)[0] for *_, unseen in families]))
    row("router, told the label", mean([accuracy(labelled, words)]), mean([accuracy(learner, unseen) for learner, _, unseen in families]))
    row("router, from its own drafts", mean([accuracy(own, words)]), mean([accuracy(learner, unseen) for _, learner, unseen in families]))
    held_rule = [rule_accuracy(learner, unseen) for _, learner, unseen in families]
    first, among, many = rule_accuracy(own, words)
    row("installed rule, own drafts: first asked", mean([first]), mean([figures[0] for figures in held_rule]))
    row("installed rule, own drafts: one of those asked", mean([among]), mean([figures[1] for figures in held_rule]))
    row("personas asked", f"{many:.2f}", f"{sum(figures[2] for figures in held_rule) / SPLITS:.2f}")
    print()
    row("messages learned from", *(str(count) for count in CURVE))
    row("told the label, unseen words", *(mean([accuracy(taught(stream[:count]), words)]) for count in CURVE))
    grown = [lived(stream[:count]) for count in CURVE]
    row("from its own drafts, unseen words", *(mean([accuracy(learner, words)]) for learner in grown))
    row("installed rule, one of those asked", *(mean([rule_accuracy(learner, words)[1]]) for learner in grown))
    print()
    chance(stream)
    print()
    cost(labelled, words)
    peer(stream, words)


def chance(stream: Sequence[Sample]) -> None:
    """Print whom the router asks where drafts fail at random."""
    worlds = {
        "all do 9 times of 10": dict.fromkeys(PERSONAS, 0.9),
        "all always do": dict.fromkeys(PERSONAS, 1.0),
        "babs 9 times of 10, the others 6": dict.fromkeys(PERSONAS, 0.6) | {"babs": 0.9},
    }
    row(f"intervals of {INTERVAL} messages", "entropy, least", "entropy, last", "babs, last", "babs, mean")
    for name, success in worlds.items():
        for exploration in (0.0, EXPLORATION):
            runs = [fallible(stream, success, exploration, seed) for seed in range(SPLITS)]
            # The first interval has the rule of words in it.
            least = min(evenness(asked, len(success)) for asked in (asked for run in runs for asked in run[1:]))
            last = sum(evenness(run[-1], len(success)) for run in runs) / SPLITS
            babs = sum(run[-1]["babs"] / run[-1].total() for run in runs) / SPLITS
            mean = sum(asked["babs"] / asked.total() for run in runs for asked in run) / sum(map(len, runs))
            row(f"{name}; explores {exploration:g}", f"{least:.2f}", f"{last:.2f}", f"{babs:.0%}", f"{mean:.0%}")


def unseen_families(split: int) -> tuple[UvmObject, UvmObject, list[Sample]]:
    """Routers that were told, and that lived, without a fifth of each persona's families; messages of these."""
    rng, out = Random(f"families {split}"), set[str]()
    for persona in PERSONAS:
        mine = [family for family in sorted(FAMILIES) if label(family) == persona]
        out |= set(rng.sample(mine, max(1, len(mine) // 5)))
    stream = [sample(task) for task in tasks(100 + split, STREAM, "train") if task.family not in out]
    unseen = [sample(task) for task in tasks(200 + split, 2 * STREAM, "test") if task.family in out]
    return taught(stream), lived(stream), unseen


def cost(learner: UvmObject, samples: Sequence[Sample]) -> None:
    """Time of a decision and of a lesson, and size of the record."""
    decisions, lessons = [], []
    for facts, persona in samples:
        began = time.thread_time()
        ranked(learner, facts)
        decided = time.thread_time()
        learn(learner, facts, [persona], True)
        decisions.append(decided - began)
        lessons.append(time.thread_time() - decided)
    print("processor time:")
    measured = {"a decision": decisions, "a lesson": lessons, "unpacking the state after a lesson elsewhere": unpacking(learner)}
    for name, seconds in measured.items():
        ordered = sorted(seconds)
        print(f"  {name}: median {ordered[len(ordered) // 2] * 1e6:.0f} µs, p99 {ordered[len(ordered) * 99 // 100] * 1e6:.0f} µs")
    record = ObjectWriter().serialize(learner)
    print(f"state: {len(record):,} bytes after {STREAM + len(samples):,} lessons, {len(weights(learner))} personas")


def unpacking(learner: UvmObject) -> list[float]:
    """Seconds to read all weights from a record, many times."""
    packed = [vector.__getstate__() for vector in weights(learner).values()]
    vector, seconds = MergingVector(router.WIDTH), []
    for _ in range(500):
        began = time.thread_time()
        for state in packed:
            vector.__setstate__(state)
        seconds.append(time.thread_time() - began)
    return seconds


PEER_COST = """
import time, psutil, uvm.machine
began, before = time.thread_time(), psutil.Process().memory_info().rss
{imports}
print(time.thread_time() - began, (psutil.Process().memory_info().rss - before) / 2**20, before / 2**20)
"""


def peer(stream: Sequence[Sample], samples: Sequence[Sample]) -> None:
    """scikit-learn's SGDClassifier on the same features, where it is installed: what it would give, and what it would cost a UVM."""
    if importlib.util.find_spec("sklearn") is None:
        print("scikit-learn is not installed: no comparison with it")
        return
    command = [sys.executable, "-c", PEER_COST.format(imports="import sklearn.linear_model")]
    importing = subprocess.run(command, capture_output=True, text=True, check=True)
    loading, more, before = map(float, importing.stdout.split())
    print(f"importing scikit-learn into a UVM's process: {loading:.2f} s of processor time, {more:.0f} MiB beside {before:.0f} MiB")
    import numpy
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import SGDClassifier

    def matrix(facts: Facts) -> Any:
        present = features(facts)
        return csr_matrix((list(present.values()), ([0] * len(present), list(present))), shape=(1, router.WIDTH))

    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=router.RATE, alpha=0.0)
    for facts, persona in stream:
        model.partial_fit(matrix(facts), [persona], classes=numpy.array(sorted(PERSONAS)))
    right, seconds = 0, []
    for facts, persona in samples:
        began = time.thread_time()
        chances = model.predict_proba(matrix(facts))[0]
        seconds.append(time.thread_time() - began)
        right += str(model.classes_[int(numpy.argmax(chances))]) == persona
    median = sorted(seconds)[len(seconds) // 2] * 1e6
    print(f"scikit-learn's SGDClassifier, told the label, unseen words: {100 * right / len(samples):.1f} %, {median:.0f} µs a decision")
    error = math.sqrt(0.25 / len(samples))
    print(f"(standard error of an accuracy here: at most {100 * error:.1f} points)")


if __name__ == "__main__":
    main()
