"""Many random messages that change something, undos among them, then an undo of each, the newest first: the first image must be back.

`python -m tests.uvm.history.reverse [MESSAGES [SEED]]` is the long form, of 10,000 such messages; a test runs a shorter one.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ZODB.FileStorage import FileStorage

from tests.uvm.history.past import Past, picture
from tests.uvm.images import awakened
from uvm.history import entries
from uvm.image.image import Database
from uvm.machine.delivery import Answered, Delivery
from uvm.objects import Counter, MergingQueue, MergingSet
from uvm.protocol import Reference, Send, decode_value, encode

BATCH = 32
OBJECTS = 12
SLOTS = ("a", "b", "c", "d", "rows")
METHODS = {
    "hit_": "def hit_(self, a):\n    self.hits.add(a)\n    self._p_changed = True\n",
    "tag_": "def tag_(self, a):\n    self.tags.add(a)\n    self._p_changed = True\n",
    "untag_": "def untag_(self, a):\n    self.tags.discard(a)\n    self._p_changed = True\n",
    "put_": "def put_(self, a):\n    self.jobs.put(a)\n    self._p_changed = True\n",
    "takes": "def takes(self):\n    job = self.jobs.take()\n    self._p_changed = True\n    return job\n",
    "grow_": "def grow_(self, a):\n    self.rows.append(a)\n    self._p_changed = True\n",
    "bear_": "def bear_(self, a):\n    child = self.clone()\n    child.a = a\n    self.child = child\n    return 1\n",
    "both_": "def both_(self, a):\n    self.a = a\n    self.b = [a]\n",
}


class World:
    """Objects with values of every kind, and random messages to them."""

    def __init__(self, past: Past, seed: int) -> None:
        self.past = past
        self.random = random.Random(seed)
        self.seq = 0
        self.objects: list[Reference] = []
        for number in range(OBJECTS):
            reference = past.do("genesis_obj", "clone")
            past.do(reference, "nameAs_", f"thing {number}")
            self.objects.append(reference)
        past.image.manager.begin()
        for reference in self.objects:
            for name, value in (("hits", Counter()), ("tags", MergingSet()), ("jobs", MergingQueue()), ("rows", [])):
                past.image.target(reference).put(name, value)
        past.image.manager.commit()
        for reference in self.objects:
            for selector, source in METHODS.items():
                past.install(reference, selector, source, int(selector.endswith("_")))

    def delivery(self, target: Any, selector: str, *args: Any) -> Delivery:
        self.seq += 1
        request = Send(
            id=1, target=target, selector=selector, args=list(args), session="w", seq=self.seq, floor=max(0, self.seq - 2 * BATCH)
        )
        return Delivery(self.seq, encode(request), "local", False, 0.0, 60.0)

    def message(self) -> Delivery:
        """A message that changes something, or fails, or does nothing."""
        roll, target, value = self.random.random(), self.random.choice(self.objects), self.value()
        if roll < 0.35:
            return self.delivery(target, "setSlot_value_", self.random.choice(SLOTS), value)
        if roll < 0.45:
            return self.delivery(target, "removeSlot_", self.random.choice((*SLOTS, *METHODS) if self.random.random() < 0.2 else SLOTS))
        if roll < 0.5:
            return self.delivery(target, self.random.choice(("addParent_", "removeParent_")), self.random.choice(self.objects))
        if roll < 0.55:
            return self.delivery(target, self.random.choice(("nameAs_", "forgetName_")), f"name {self.random.randrange(20)}")
        if roll < 0.58:
            return self.delivery(target, "clone")
        if roll < 0.7:
            subject = f"w/{self.random.randrange(max(1, self.seq - 300), self.seq + 1)}"
            return self.delivery("genesis_obj", "undo_", subject, False, False, self.random.random() < 0.5)
        selector = self.random.choice(list(METHODS))
        return self.delivery(target, selector, *([self.random.randrange(50)] if selector.endswith("_") else []))

    def value(self) -> Any:
        kind = self.random.randrange(6)
        return [
            self.random.randrange(5),
            self.random.random(),
            "x" * self.random.randrange(300),
            [self.random.randrange(9) for _ in range(self.random.randrange(40))],
            {"of": self.random.choice(self.objects), "n": self.random.randrange(3)},
            None,
        ][kind]

    def run(self, deliveries: list[Delivery]) -> list[Any]:
        return self.past.run(*deliveries)


def there_and_back(past: Past, messages: int, seed: int, report: Callable[[str], None] = lambda text: None) -> tuple[int, float, float]:
    """Run messages until so many changed something, undo those, and compare; how many there were in all, and the seconds of each half."""
    world = World(past, seed)
    first = picture(past.image)
    past.image.manager.begin()
    since = next(entries.newest_first(past.image)).id
    past.image.manager.abort()
    began = time.perf_counter()
    wrote = sent = 0
    while wrote < messages:
        outcomes = world.run([world.message() for _ in range(BATCH)])
        sent += len(outcomes)
        wrote += sum(isinstance(outcome, Answered) and outcome.changed for outcome in outcomes)
    there = time.perf_counter() - began
    past.image.manager.begin()
    changed = []
    for recorded in entries.newest_first(past.image):
        if recorded.id == since:
            break
        if not recorded.chronicled:
            changed.append((recorded.id, bool(recorded.entry["effects"])))  # a new object alone is no effect
    past.image.manager.abort()
    assert picture(past.image) != first
    assert len(changed) == wrote
    report(f"{sent:,} messages in {there:.1f} s, of which {wrote:,} changed something")
    began = time.perf_counter()
    for begin in range(0, len(changed), BATCH):
        outcomes = world.run([world.delivery("genesis_obj", "undo_", id) for id, effects in changed[begin : begin + BATCH] if effects])
        for outcome in outcomes:
            assert isinstance(outcome, Answered), (outcome.error.message, outcome.error.details)
            assert decode_value(outcome.result)["conflicts"] == []
    back = time.perf_counter() - began
    last = picture(past.image)
    assert last == first, [key for key in {**first, **last} if first.get(key) != last.get(key)]
    return sent, there, back


def main() -> None:
    """The long form."""
    messages, seed = (int(text) for text in [*sys.argv[1:], "10000", "1"][:2]) if len(sys.argv) != 2 else (int(sys.argv[1]), 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.fs"
        with awakened(Database(FileStorage(str(path)))) as image:
            _, there, back = there_and_back(Past(image), messages, seed, lambda text: sys.stdout.write(f"{text}\n"))
            sys.stdout.write(f"undone in {back:.1f} s ({back / there:.2f} of the messages' time); the first image is back, slot for slot\n")


if __name__ == "__main__":
    main()
