"""Images for tests: the primordial objects on a storage in memory, and a batch that runs messages on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from deploy.settings import UvmSettings
from uvm.awakening.awakening import primordial
from uvm.image.image import Database, Image
from uvm.machine.batch import Batch
from uvm.machine.delivery import Delivery, Outcome
from uvm.protocol import Send, encode
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import Runtime

_numbers = count(1)


def new_database() -> Database:
    """A database in memory, as the image's are."""
    return Database(None)


@contextmanager
def awakened(database: Database | None = None) -> Iterator[Image]:
    """An image with its primordial objects and no model."""
    image = Image(database or new_database())
    image.manager.begin()
    if not image.awake:
        primordial(image)
    image.manager.commit()
    try:
        yield image
    finally:
        image.close()


class Bench:
    """One UVM's transactional part, without sockets."""

    def __init__(self, image: Image, name: str = "uvm-1", **settings: Any) -> None:
        self.image = image
        self.runtime = Runtime(image, PRIMITIVES)
        self.batch = Batch(image, self.runtime, UvmSettings(**settings), name)

    def delivery(self, target: Any, selector: str, *args: Any, **options: Any) -> Delivery:
        """A message as it arrives from the bridge."""
        kwargs = options.pop("kwargs", {})
        request = Send(id=1, target=target, selector=selector, args=list(args), kwargs=kwargs, **options)
        return Delivery(next(_numbers), encode(request), "local", False, 0.0, 60.0)

    def run(self, *deliveries: Delivery) -> list[Outcome]:
        """Run messages as one batch, or as many as it takes where that is a long one; their outcomes in order."""
        done: dict[int, Outcome] = {}
        while left := [delivery for delivery in deliveries if id(delivery) not in done]:
            done.update((id(delivery), outcome) for delivery, outcome, _ in self.batch.run(left))
        return [done[id(delivery)] for delivery in deliveries]

    def send(self, target: Any, selector: str, *args: Any, **options: Any) -> Outcome:
        """Send one message in a transaction of its own."""
        return self.run(self.delivery(target, selector, *args, **options))[0]

    def install(self, target: Any, selector: str, source: str, positional: int = 0, policy: bool = True) -> None:
        """Put a method into an object, past audit and trial; `policy`: one that may change primordial objects."""
        from uvm.image.methods import install, method

        self.image.manager.begin()
        install(self.image.target(target), method(selector, source, positional, "test", {}, policy))
        self.image.manager.commit()
