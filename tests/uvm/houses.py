"""A UVM's writers on an image of their own, with real trials and a scripted model: what messages go through in the tests."""

import select
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from deploy.settings import Configuration, Home, Settings, UvmSettings
from inference_worker.protocol import Completed, Generate, Output, RequestFailed
from tests.uvm.images import Bench
from uvm.errors import ImageError
from uvm.generation.request import MethodRequest
from uvm.generation.writers import Writers
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.inference.client import InferenceClient
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome
from uvm.protocol import CreateMethod, Progress, decode_event, decode_value, encode
from uvm.trial.client import TrialServer

_UNTIL_S = 60.0


Ask = Callable[..., None]


class ScriptedModel:
    """Stands where the InferenceClient stands: bodies by selector, in the order in which they are drafted; `wrote`: by whom, and how.

    While it is `starting`, in the words for who waits, questions are kept until `starts`.
    """

    def __init__(self, bodies: dict[str, list[str]]) -> None:
        self.bodies = bodies
        self.wrote: dict[str, Any] = {"mode": "merged"}
        self.ask: Ask = self.draft
        self.asked: list[Generate] = []
        self.numbered = 0
        self.starting = ""
        self.others_wait = False
        self.cancelled: list[str] = []
        self._later: list[tuple[Any, ...]] = []

    def identifier(self, prefix: str) -> str:
        self.numbered += 1
        return f"{prefix}-{self.numbered}"

    def crowded(self, own: int) -> bool:
        return self.others_wait

    def waits_for(self, identifier: str, now: float) -> str:
        return self.starting

    def starts(self) -> None:
        self.starting = ""
        for question in self._later:
            self.ask(*question)

    def draft(self, generate: Generate, seconds: float, done: Callable[[Completed | RequestFailed], None], writing: Any = None) -> None:
        """What `ask` does unless a test says otherwise."""
        if self.starting:
            self._later.append((generate, seconds, done, writing))
            return
        self.asked.append(generate)
        selector = generate.prompt.rsplit("def ", 1)[-1].split("(")[0] if "def " in generate.prompt else ""
        bodies = self.bodies.get(selector, self.bodies.get("*", []))
        if not bodies:
            done(RequestFailed(generate.id, "EngineDied", "no body is scripted"))
            return
        texts = [bodies[number % len(bodies)] for number in range(len(generate.samplings))]
        outputs = [Output(text, 10, -0.1 * number, "stop") for number, text in enumerate(texts)]
        done(Completed(generate.id, outputs, 100, 0.0, 0.1, **self.wrote))

    def cancel(self, identifier: str) -> None:
        self.cancelled.append(identifier)


class House:
    """An image, a bench and the writers of one UVM, which install whatever comes out best unless `risk` says otherwise."""

    def __init__(
        self, image: Image, trials: TrialServer, bodies: Any, home: Path, name: str = "uvm-1", drafts: Any = 2, **settings: Any
    ) -> None:
        self.image = image
        self.bench = Bench(image, name)
        self.model = ScriptedModel(bodies)
        self.home = home
        self.events: list[Any] = []
        self.used: Counter[str] = Counter()
        self.transactor = Transactor(image, name)
        self.writers = Writers(
            configuration=Configuration(
                Home(home), Settings(uvm=UvmSettings(**{"drafts": drafts, "most_drafts": drafts, "risk": 1.0} | settings)), {}
            ),
            image=image,
            runtime=self.bench.runtime,
            transactor=self.transactor,
            inference=cast(InferenceClient, self.model),
            trials=trials,
            publish=lambda topic, payload: self.events.append(decode_event(payload)),
            used=lambda principal, cpu_s: self.used.update({principal: cpu_s}),
            owner=f"{name}/1",
            confined=True,
        )

    def until(self, done: Callable[[], object]) -> None:
        """Serve trials until `done()`, with a deadline."""
        until = time.monotonic() + _UNTIL_S
        while not done():
            assert time.monotonic() < until, f"still at {[event.stage for event in self.events]}"
            running = {trial.fileno(): trial for trial in self.writers.trials()}
            for descriptor in select.select(list(running), [], [], 0.05)[0]:
                self.writers.readable(running[descriptor])
            self.writers.tick(time.monotonic())

    def send(self, target: Any, selector: str, *args: Any, **options: Any) -> Any:
        """Send, have what is missing written, and send again, as the machine does."""
        return self.finish(self.bench.delivery(target, selector, *args, **options))

    def carry_out(self, request: Any) -> Any:
        """Carry out any request that may change the image, likewise."""
        return self.finish(Delivery(1, encode(request), "local", False, 0.0, 60.0))

    def finish(self, delivery: Delivery) -> Any:
        """Carry out a message to its end: the value of its answer, or its error."""
        while True:
            (outcome,) = self.bench.run(delivery)
            if not isinstance(outcome, MethodRequest):
                return _end_of(outcome)
            error = delivery.ended(outcome, self.write(_as_sent(delivery, outcome)))
            if error is not None:
                return error

    def missed(self, *deliveries: Delivery) -> list[MethodRequest]:
        """The methods that messages of one batch cannot go on without."""
        outcomes = self.bench.run(*deliveries)
        return [outcome for outcome in outcomes if isinstance(outcome, MethodRequest)]

    def looked(self, look: Callable[[], Any]) -> Any:
        """What `look` sees of the image as it is stored."""
        return self.transactor.look(look)

    def write(self, request: MethodRequest) -> ImageError | None:
        """Have a method written; why it was not."""
        ended: list[ImageError | None] = []
        self.writers.request(request, ended.append)
        self.until(lambda: ended)
        return ended[0]

    def stages(self) -> list[str]:
        """The stages of which tools were told, without the steps in between."""
        return [event.stage for event in self.events if isinstance(event, Progress) and event.stage not in ("drafting", "trying")]


BuildHouse = Callable[..., House]
"""The fixture that builds houses: with bodies by selector, and settings."""


def make_shop(house: House) -> Any:
    shop = house.send("genesis_obj", "clone")
    for slot, value in (("cost", 4), ("pieces", 3), ("tags", ["new"])):
        house.send(shop, "setSlot_value_", slot, value)
    house.events.clear()
    return shop


def offer(house: House, target: Any, selector: str, source: str, **options: Any) -> Any:
    request = CreateMethod(id=1, target=target, selector=selector, source=source, **options)
    delivery = Delivery(1, encode(request), "local", False, 0.0, 60.0)
    while True:
        (outcome,) = house.bench.run(delivery)
        if not isinstance(outcome, MethodRequest):
            return _end_of(outcome)
        error = house.write(_as_sent(delivery, outcome))
        if error is not None:
            return error


def _end_of(outcome: Outcome) -> Any:
    """The value of the answer, or the error."""
    if isinstance(outcome, Failed):
        return outcome.error
    assert isinstance(outcome, Answered), outcome
    return decode_value(outcome.result)


def _as_sent(delivery: Delivery, request: MethodRequest) -> MethodRequest:
    """As the machine passes a request on."""
    return replace(request, session=delivery.session, seq=delivery.seq)
