"""The autotelic heartbeat: measures the image once a minute and keeps house. `python -m uvm.heartbeat`, under supervisord.

Exactly one writes: it takes a fencing token when it starts, and each of its transactions checks that the token is still its own (a newer
heartbeat takes a higher one; Kleppmann, 2016). One thread, one loop.
"""

import argparse
import contextlib
import math
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import zmq
from prometheus_client import Gauge

from deploy import logs, metrics, profiles
from deploy.orders import ExamAnswers, Spool
from deploy.process import Stop
from deploy.settings import Configuration, SettingsError, load
from deploy.wishes import WishDoor
from inference_worker.protocol import Manifest
from uvm.autotelic.calibration import StatedPair
from uvm.autotelic.loop import Loop
from uvm.autotelic.windows import Structure, Sums
from uvm.awakening import importer
from uvm.errors import ImageError
from uvm.generation import hindsight
from uvm.heartbeat.announcer import Announcer
from uvm.history import chronicle
from uvm.image import clock as image_time
from uvm.image import codex, judgement, library, model_registry, nursery, revocations, stored, views
from uvm.image.blobs import sweep, sweep_unfinished, unnamed
from uvm.image.client import ImageUnreachable, open_image
from uvm.image.entropy import Spoken, shannon, since
from uvm.image.image import Image
from uvm.image.journal import spoken_in_drafts, tallies
from uvm.image.queries import reachable, view_tid
from uvm.image.receipts import Ledger
from uvm.image.staging import sweep_staging
from uvm.image.tables import SHARDS
from uvm.image.transactor import ImageAway, Publish, Transactor
from uvm.objects import KIND, UvmObject
from uvm.protocol import Change
from uvm.startup import confine, wait_for_files, wait_until_awake
from uvm.wishes.loop import WishLoop

_HISTORY = 60
_SESSION_S = 7 * 86_400
_PORTIONS = 8
"""Portions of methods that a beat puts out of use, or back into it, where a revocation was left unfinished."""
_COUNT_S = 86_400.0
"""How often everybody's stored bytes are counted anew, seconds, besides at the start: it reads every record."""

log = structlog.get_logger()

ENTROPY = Gauge("batos_entropy_selectors_bits", "Entropy of the selectors sent since the measurement before.")
COMPOSITE = Gauge("batos_entropy_composite", "Composite Entropy Metric of the window, 0 to 1; NaN: nothing was sent.")
PERSONAS = Gauge("batos_entropy_personas_bits", "Entropy of the personas that wrote drafts since the measurement before.")
TOKENS = Gauge("batos_entropy_tokens_bits", "Bits a token of the drafts written since the measurement before.")


class _Tallies(NamedTuple):
    """What was counted since the image's birth: selectors sent, drafts by persona, tokens of drafts."""

    sent: dict[str, int]
    drafts: dict[str, int]
    spoken: Spoken


class Fenced(Exception):
    """A newer heartbeat has taken over."""


class Heartbeat:
    """Measurements under a fencing token. What it writes is given to `publish`."""

    def __init__(self, configuration: Configuration, image: Image, publish: Publish = lambda tid, changes: None) -> None:
        self._configuration = configuration
        self._image = image
        self._transactor = Transactor(image, "heartbeat", publish=publish)
        self._token = self._transactor.run(self._take)
        # A heartbeat that died may have committed what it did not live to publish.
        publish(self._transactor.newest(), self._transactor.look(self._doubted))
        self._before = _Tallies({}, {}, Spoken())
        spool, forge_runs = Spool(configuration.home), configuration.settings.forge.process
        self._loop = Loop(image, self._transactor, spool, self._check, self._bring_in, self._stated, forge_runs=forge_runs)
        self._wishes = WishLoop(image, self._transactor, WishDoor(configuration.home), self._check, configuration.settings.upgrade.wheels)
        self._structure = Structure()
        self._beaten = time.monotonic()
        self._count_at = 0.0
        self._unnamed: dict[Path, float] = {}
        # Anywhere: heartbeats that live for a few beats only come round as well.
        self._shard = random.randrange(SHARDS)

    def beat(self) -> dict[str, Any]:
        """Measure once, write it down, keep house. Raises Fenced."""
        measured, self._before = self._transactor.run(self._measure)
        self._beaten += int(time.monotonic() - self._beaten)
        self._shard = (self._shard + 1) % SHARDS
        ENTROPY.set(measured["selector_entropy"])
        PERSONAS.set(measured["persona_entropy"])
        TOKENS.set(measured["token_entropy"])
        removed = self._sweep(self._transactor.look(self._unnamed_files))
        for _ in range(_PORTIONS):
            if not self._transactor.run(self._go_on):
                break
        if sweep_staging(self._configuration.home):
            log.warning("removed what an import that died had left")
        if time.monotonic() >= self._count_at:
            self._count_stored()
            sweep_unfinished(self._configuration.home.blobs)
            self._count_at = time.monotonic() + _COUNT_S
        composite = self._loop.beat(self._sums())
        COMPOSITE.set(math.nan if composite.cem is None else composite.cem)
        self._wishes.beat()
        log.info("heartbeat", token=self._token, removed=removed, **{key: value for key, value in measured.items() if key != "token"})
        return measured

    def _sums(self) -> Sums:
        """Everything counted so far; the library is read through only where methods were added since the last time."""
        counted, structure = self._before, self._structure
        methods = int(self._transactor.look(lambda: views.counted(self._image.named("genesis_obj"), "methods")))
        if methods != structure.methods:
            shapes, behaviours = self._transactor.look(lambda: library.extent(self._image))
            self._structure = structure = Structure(methods, shapes, behaviours)
        return Sums(time.monotonic(), counted.sent, counted.drafts, counted.spoken, structure)

    def _bring_in(self, manifest: Manifest, directory: str) -> None:
        """Take an adapter that the forge has made, and its examiner checked, into the image; nobody speaks with it yet."""
        writer = self._image.writer
        try:
            with contextlib.ExitStack() as opened:
                sources = importer.opened(Path(directory), manifest.files)
                for source in sources.values():
                    opened.enter_context(source)
                importer.bring_in(self._image, self._configuration, manifest, sources, lambda step, detail, done: None)
        finally:
            self._image.writer = writer  # the import wrote in its own name

    def _stated(self, answers: ExamAnswers) -> list[StatedPair]:
        """What the image's decision states of what was written in an exam."""
        mind = self._image.named("pLLM_obj")
        in_force, afterwards = judgement.numbers(mind), judgement.numbers_of_none(mind)
        return hindsight.stated(answers, in_force, afterwards, self._configuration.settings.uvm.risk)

    def _take(self) -> int:
        fence = self._image.root["fence"]
        fence.put("token", fence.own("token") + 1)
        fence.put("holder", str(os.getpid()))
        token: int = fence.own("token")
        return token

    def _doubted(self) -> list[Change]:
        heart = self._image.named("heartbeat_obj")
        return [Change(self._image.reference(heart), self._image.names_of(heart), {}, [], again=True)]

    def _check(self) -> None:
        fence = self._image.root["fence"]
        if fence.own("token") != self._token:
            raise Fenced(f"token {self._token} was followed by {fence.own('token')}")
        self._image.connection.readCurrent(fence)

    def _measure(self) -> tuple[dict[str, Any], "_Tallies"]:
        self._check()
        counted, before = _Tallies(tallies(self._image), tallies(self._image, "asked"), spoken_in_drafts(self._image)), self._before
        fresh, drafts, words = since(counted.sent, before.sent), since(counted.drafts, before.drafts), counted.spoken - before.spoken
        genesis, heart = self._image.named("genesis_obj"), self._image.named("heartbeat_obj")
        measured = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "selector_entropy": round(shannon(fresh), 6),
            "persona_entropy": round(shannon(drafts), 6),
            "token_entropy": round(words.entropy, 6),
            "tokens": words.tokens,
            "hesitant_tokens": words.hesitant,
            "drafts": sum(drafts.values()),
            "messages": sum(fresh.values()),
            "selectors": len(fresh),
            "objects": sum(1 for _ in reachable(self._image.names.values(), [])),
            "methods": views.counted(genesis, "methods"),
            "token": self._token,
        }
        heart.put("last", measured)
        heart.put("history", [*views.slot(heart, "history", list, []), measured][-_HISTORY:])
        now = image_time.advance(self._image, int(time.monotonic() - self._beaten))
        # One shard a beat: to look at all receipts loads them all, and nothing is in a hurry that had weeks to live.
        Ledger(self._image).expire(now - _SESSION_S, [self._shard])
        nursery.expire(self._image, now, [self._shard])
        return measured, counted

    def _go_on(self) -> bool:
        """Do another portion of a revocation or a restoration that nobody has brought to its end; whether there was one."""
        self._check()
        done = revocations.go_on(self._image)
        if done is None:
            return False
        author, kind, judged = done
        facts = {"of": author.key, "counts": dict(Counter(each.fate for each in judged))}
        chronicle.record(self._image, kind, author="heartbeat", cause="unfinished", facts=facts)
        return True

    def _count_stored(self) -> None:
        """Nobody is charged any more for what a pack has dropped."""
        tid, counted = self._transactor.look(lambda: (view_tid(self._image), stored.accounts(self._image)))
        drift = stored.drift(self._image, tid, counted) if counted else {}

        def correct() -> None:
            self._check()
            for principal, more in drift.items():
                stored.add(self._image, principal, more)

        if drift:
            self._transactor.run(correct)
            log.info("stored bytes were counted anew", corrected=drift)

    def _unnamed_files(self) -> list[Path]:
        """Linked files of models and adapters that the image does not keep, and no object refers to."""
        home = self._configuration.home
        used: dict[model_registry.Kind, set[str]] = {kind: set(model_registry.digests(self._image, kind)) for kind in model_registry.KINDS}
        for target in reachable(self._image.names.values(), []):
            for value in target._slots.values():
                for kind in model_registry.KINDS:
                    if type(value) is UvmObject and value.own(KIND) == kind:
                        used[kind].add(views.slot(value, "digest", str, ""))
        return unnamed(used["model"], home.models) + unnamed(used["adapter"], home.adapters)

    def _sweep(self, directories: list[Path]) -> list[str]:
        """Remove files that nobody has named for as long as a request may take that was begun when somebody did."""
        now = time.monotonic()
        self._unnamed = {path: self._unnamed.get(path, now) for path in directories}
        longest = self._configuration.settings.uvm.generation_deadline_s
        return sweep(path for path, since in self._unnamed.items() if now - since > longest)


def beat_until(stop: Stop, configuration: Configuration, image: Image) -> None:
    """Beat at the interval. A beat that fails is logged, and the next one is tried. Raises Fenced, ImageAway, CodexBroken."""
    heart: Heartbeat | None = None
    announcer = Announcer(configuration.uvms_endpoint, "heartbeat")
    poller = zmq.Poller()
    poller.register(stop.fileno(), zmq.POLLIN)
    try:
        while not stop.requested:
            try:
                heart = heart or Heartbeat(configuration, image, announcer.publish)
                heart.beat()
            except (Fenced, ImageAway, codex.CodexBroken):
                raise
            except Exception:  # whatever stands in the image, it ends no process
                log.exception("a beat failed; the next one is tried", seconds=configuration.settings.heartbeat.interval_s)
            poller.poll(int(configuration.settings.heartbeat.interval_s * 1000))
    finally:
        announcer.close()


def main() -> int:
    """Entry point."""
    argparse.ArgumentParser(description="The autotelic heartbeat: measures the image at an interval and keeps house.").parse_args()
    try:
        configuration = load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.start("heartbeat", configuration.settings.logs.level)
    configuration.home.ensure()
    Spool(configuration.home).ensure()
    WishDoor(configuration.home).ensure()
    stop = Stop()
    if not wait_for_files(configuration, stop):
        return 0 if stop.requested else 1
    endpoint = metrics.listen("heartbeat", configuration.settings.metrics.base_port, 3, configuration.home.run)
    confine("heartbeat", configuration, profiles.heartbeat_profile(configuration))
    endpoint.start()
    try:
        image = open_image(configuration, 60.0)
    except ImageUnreachable as error:
        log.error("no image", error=str(error))
        return 1
    try:
        if not wait_until_awake(image, stop):
            return 0
        beat_until(stop, configuration, image)
    except (Fenced, ImageAway, ImageUnreachable, ImageError, codex.CodexBroken) as error:
        log.error("ending", error=str(error))
        return 1
    finally:
        image.close()
    log.info("ended")
    return 0
