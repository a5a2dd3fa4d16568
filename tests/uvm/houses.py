"""A UVM's writers on an image of their own, with real trials and a scripted model: what messages go through in the tests."""

import select
import time
from collections import Counter
from pathlib import Path

from msgspec.structs import replace

from deploy.settings import Configuration, Home, Settings, UvmSettings
from inference_worker.protocol import Completed, Generate, Output, RequestFailed
from tests.uvm.images import Bench
from uvm.generation.request import MethodRequest
from uvm.generation.writers import Writers
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Delivery
from uvm.protocol import CreateMethod, Progress, decode_event, decode_value, encode
from uvm.trial.client import TrialServer

_UNTIL_S = 60.0


class ScriptedModel:
    """Stands where the InferenceClient stands: bodies by selector, in the order in which they are drafted; `wrote`: by whom, and how.

    While it is `starting`, in the words for who waits, questions are kept until `starts`.
    """

    def __init__(self, bodies):
        self.bodies = bodies
        self.wrote = {"mode": "merged"}
        self.asked = []
        self.numbered = 0
        self.starting = ""
        self._later = []

    def identifier(self, prefix):
        self.numbered += 1
        return f"{prefix}-{self.numbered}"

    def waits_for(self, identifier, now):
        return self.starting

    def starts(self):
        self.starting = ""
        for question in self._later:
            self.ask(*question)

    def ask(self, generate: Generate, seconds, done, writing=None):
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

    def cancel(self, identifier):
        pass


class House:
    """An image, a bench and the writers of one UVM, which install whatever comes out best unless `risk` says otherwise."""

    def __init__(self, image: Image, trials: TrialServer, bodies, home: Path, name="uvm-1", drafts=2, **settings):
        self.image = image
        self.bench = Bench(image, name)
        self.model = ScriptedModel(bodies)
        self.events = []
        self.used = Counter()
        self.transactor = Transactor(image, name)
        self.writers = Writers(
            configuration=Configuration(
                Home(home), Settings(uvm=UvmSettings(**{"drafts": drafts, "most_drafts": drafts, "risk": 1.0} | settings)), {}
            ),
            image=image,
            runtime=self.bench.runtime,
            transactor=self.transactor,
            inference=self.model,
            trials=trials,
            publish=lambda topic, payload: self.events.append(decode_event(payload)),
            used=lambda principal, cpu_s: self.used.update({principal: cpu_s}),
            owner=f"{name}/1",
            confined=True,
        )

    def until(self, done):
        """Serve trials until `done()`, with a deadline."""
        until = time.monotonic() + _UNTIL_S
        while not done():
            assert time.monotonic() < until, f"still at {[one.stage for one in self.events]}"
            running = {trial.fileno(): trial for trial in self.writers.trials()}
            for descriptor in select.select(list(running), [], [], 0.05)[0]:
                self.writers.readable(running[descriptor])
            self.writers.tick(time.monotonic())

    def send(self, target, selector, *args, **options):
        """Send, have what is missing written, and send again, as the machine does."""
        return self.finish(self.bench.delivery(target, selector, *args, **options))

    def carry_out(self, request):
        """Carry out any request that may change the image, likewise."""
        return self.finish(Delivery(1, encode(request), "local", False, 0.0, 60.0))

    def finish(self, work):
        while True:
            (outcome,) = self.bench.run(work)
            if not isinstance(outcome, MethodRequest):
                return outcome.error if hasattr(outcome, "error") else decode_value(outcome.result)
            error = work.ended(outcome, self.write(_as_sent(work, outcome)))
            if error is not None:
                return error

    def looked(self, look):
        """What `look` sees of the image as it is stored."""
        return self.transactor.look(look)

    def write(self, request):
        ended = []
        self.writers.request(request, ended.append)
        self.until(lambda: ended)
        return ended[0]

    def stages(self):
        return [event.stage for event in self.events if isinstance(event, Progress) and event.stage not in ("drafting", "trying")]


def make_shop(house):
    shop = house.send("genesis_obj", "clone")
    for slot, value in (("cost", 4), ("pieces", 3), ("tags", ["new"])):
        house.send(shop, "setSlot_value_", slot, value)
    house.events.clear()
    return shop


def offer(house, target, selector, source, **options):
    request = CreateMethod(id=1, target=target, selector=selector, source=source, **options)
    work = Delivery(1, encode(request), "local", False, 0.0, 60.0)
    while True:
        (outcome,) = house.bench.run(work)
        if not isinstance(outcome, MethodRequest):
            return outcome.error if hasattr(outcome, "error") else decode_value(outcome.result)
        error = house.write(_as_sent(work, outcome))
        if error is not None:
            return error


def _as_sent(delivery, request):
    """As the machine passes a request on."""
    return replace(request, session=delivery.session, seq=delivery.seq)
