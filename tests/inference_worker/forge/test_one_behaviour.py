"""No two families give one selector to two behaviours: what a name teaches in one place, another place does not contradict.

Selectors and bodies are compared with the names of slots replaced by kinds. Where the kinds are the same and the bodies differ, the values
or the slot's own name have to say which is meant; the selectors for which they do are listed, each with its reason.
"""

import re
from collections import Counter, defaultdict

from inference_worker.forge import dataset, render
from inference_worker.forge.draw import Task
from uvm.generation.lexicon import kind
from uvm.generation.naming import stem, words_of

DRAWN = 12_000
OFTEN = 3
"""A body that is drawn so often for a selector is no accident of names."""
BY_VALUES = re.compile(r"reduced|discount|tax|vat|interest|markup|surcharge|rebate|joined|final")
"""A rate of 0.2 and one of 20 per cent; texts and numbers joined."""
BY_NAME = re.compile(r"^(update|keep|record)\b")
"""`best_…` and `lowest_…` say which of two values is kept."""


def compared(task: Task) -> tuple[str, str]:
    """The selector and the body of a task, without names."""
    words = words_of(task.selector)
    body = task.body.strip()
    shown = {name: kind(render.value(content)) for name, content in task.slots.items()}
    for name in sorted(shown, key=lambda name: -len(name)):
        parts = [stem(word) for word in words_of(name)]
        plural = "*" if words_of(name)[-1:] and words_of(name)[-1] in words_of(task.selector) else ""
        for place in range(len(words) - len(parts) + 1):
            if [stem(word) for word in words[place : place + len(parts)]] == parts:
                words[place : place + len(parts)] = [f"<{shown[name]}{plural}>"]
                break
        body = re.sub(rf"\b{re.escape(name)}\b", f"<{shown[name]}>", body)
    return f"{' '.join(words)} /{len(task.arguments)}", re.sub(r"'\w+'", "'key'", body)


def test_one_selector_has_one_behaviour():
    bodies: dict[str, Counter[str]] = defaultdict(Counter)
    for task in dataset.tasks(77, DRAWN, "train", {"composed": 20}):
        if not task.keyworded and not task.examples and "decline(" not in task.body and not task.family.startswith("display"):
            selector, body = compared(task)
            bodies[selector][body] += "<" in selector
    torn = {
        selector: some
        for selector, counts in bodies.items()
        if len(some := {body: count for body, count in counts.items() if count >= OFTEN}) > 1
        and not BY_VALUES.search(selector)
        and not BY_NAME.search(selector)
    }
    assert not torn
