"""Prototypal Awakening: the primordial objects of a new image, or the check that an old one is still itself.

`python -m uvm.awakening --model DIR [--adapter DIR] --json`, run once by `batos up` while the ZEO server is there. Prints one line per
step: {"step", "detail", "done"}. Imports the files of the model and of the adapter as blobs in the same transaction.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from BTrees.OOBTree import OOBTree
from transaction.interfaces import TransientError
from ZODB.POSException import POSKeyError, StorageError

from deploy import logs, profiles
from deploy.settings import Configuration, SettingsError, load
from uvm.awakening import renewal
from uvm.awakening.check import check
from uvm.awakening.migrations import migrate
from uvm.awakening.reaudit import audit_again
from uvm.errors import ImageError
from uvm.history import chronicle
from uvm.image import codex, judgement, model_registry
from uvm.image.blobs import import_directory, materializer
from uvm.image.client import ImageUnreachable, open_image
from uvm.image.image import Image
from uvm.image.shape import SHAPE, expect_known, record_shape
from uvm.image.views import COVENANT
from uvm.language.compiler import POLICY
from uvm.objects import ABSENT, KIND, PARENTS, Counter, UvmObject
from uvm.runtime import router
from uvm.startup import confine, wait_for_files

DRAFTS = 4
_TRIES = 10
_AGAIN_S = 0.5

log = structlog.get_logger()


class ImageBroken(Exception):
    """The image that was found lacks what a start needs, or has it damaged; the message names object by object what is wrong."""


Report = Callable[[str, str, bool], None]


def awaken(image: Image, configuration: Configuration, model: Path | None, adapter: Path | None, report: Report, name: str = "") -> bool:
    """Make the image's first objects, or check those it has. Returns whether it was born now. Raises ImageBroken.

    It is one transaction. Where another process was first, or the server went away with it, what is there is looked at anew.
    """
    for again in range(_TRIES):
        try:
            born = _awaken(image, configuration, model, adapter, report, name)
            _show_models(image, configuration)
            return born
        except (TransientError, StorageError) as error:
            image.manager.abort()
            if again == _TRIES - 1:
                raise
            report("awakening", f"{type(error).__name__}: {error}; once more"[:200], False)
            time.sleep(_AGAIN_S)
    raise AssertionError("the last try raises")


def _awaken(image: Image, configuration: Configuration, model: Path | None, adapter: Path | None, report: Report, name: str) -> bool:
    image.writer = "awakening"
    image.manager.begin()
    if image.awake:
        expect_known(image)
        checked = check(image, configuration.home.blobs)
        if not checked.boots:
            raise ImageBroken("; ".join(f"{problem.where}: {problem.what}" for problem in checked.problems if problem.fatal))
        digest = codex.verify(image)
        report("image found", f"Codex {digest[:12]}, {len(image.names)} names", True)
        migrated = [f"shape {migration.number}: {migration.what}" for migration in migrate(image)]
        added = migrated + renewal.renew(image)
        if added:
            chronicle.record(image, "renewal", author="awakening", facts={"added": added})
        image.manager.commit()
        if added:
            report("image renewed", ", ".join(added), True)
        return False
    if adapter is not None:
        judgement.check_directory(adapter)  # before hundreds of megabytes are copied
    report("first run", "creating traits_obj, genesis_obj, pLLM_obj, the personas and the Codex", False)
    primordial(image)
    staging = configuration.home.blobs / "tmp"
    traits, pllm, now = image.named("traits_obj"), image.named("pLLM_obj"), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if model is not None:
        facts = {"name": name or model_name(model), "imported": now}
        proxy = import_directory("model", model, traits, staging, facts, lambda file: report("model", file, False))
        pllm.put("model", proxy)
        report("model", f"{proxy.own('name')} {proxy.own('digest')[:12]}, {proxy.own('bytes') / 1e6:.0f} MB as blobs", True)
    if model is not None and adapter is not None:
        facts = {"name": "covenant", "base": pllm.own("model").own("digest"), "imported": now}
        proxy = import_directory("adapter", adapter, traits, staging, facts, lambda file: report("adapter", file, False))
        pllm.put("adapter", proxy)
        report("adapter", f"covenant@{proxy.own('digest')[:12]}, {proxy.own('bytes') / 1e6:.1f} MB", True)
        judgement.follow(image, pllm)
        fitted = "fitted to it" if judgement.in_force(image, pllm).fitted else "the shipped one, which was not fitted to it"
        report("judgement", fitted, True)
    model_registry.gather(image)
    identity = codex.verify(image)
    chronicle.record(image, "birth", author="awakening", facts={"codex": identity})
    born_with = [(pllm, slot, ABSENT, pllm.own(slot), None) for slot in ("model", "adapter")]
    chronicle.record_effects(image, born_with, "awakening", "birth")
    image.manager.commit()
    report("awake", f"Codex {identity[:12]}, {len(image_names(image))} names", True)
    return True


def _show_models(image: Image, configuration: Configuration) -> None:
    """Have the files of the models in the home: what an import is checked against, and what an eager worker starts with."""
    show = materializer(image, configuration.home)
    image.manager.begin()
    try:
        for proxy in model_registry.proxies(image, "model"):
            try:
                show(proxy, "model")
            except (ImageError, OSError, POSKeyError) as error:
                log.error("a model's files cannot be shown; `batos image check` says what is wrong", error=str(error))
    finally:
        image.manager.abort()


def image_names(image: Image) -> list[str]:
    """All names, in a transaction of its own."""
    image.manager.begin()
    try:
        return list(image.names)
    finally:
        image.manager.abort()


def model_name(directory: Path) -> str:
    """What the model calls itself, else the directory's name."""
    try:
        read = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError):
        return directory.name
    return str(read.get("_name_or_path") or read.get("model_type") or directory.name).rsplit("/", 1)[-1]


def primordial(image: Image) -> None:
    """The first objects, in the current transaction; without a model."""
    root = image.root
    root["codex"] = codex.inscribe()
    root["identity"] = root["codex"].own("digest")
    root["names"] = OOBTree()
    traits = UvmObject({"name": "traits_obj"})
    pllm = UvmObject({PARENTS: [traits], "name": "pLLM_obj", "covenant": COVENANT, "drafts": DRAFTS})
    messages = UvmObject({PARENTS: [traits]})
    root["message_traits"] = messages
    root["router"] = router.new(codex.charter()["personas"])
    root["fence"] = UvmObject({KIND: "lease", "token": 0, "holder": ""})
    personas = [UvmObject({PARENTS: [pllm], "name": name, "charter": text}) for name, text in codex.charter()["personas"].items()]
    heartbeat = UvmObject({PARENTS: [traits, pllm], "name": "heartbeat_obj", "last": None})
    genesis = UvmObject(
        {
            PARENTS: [traits, pllm],
            "name": "genesis_obj",
            "born": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "purpose": codex.charter()["purpose"].split(":")[0],
            "clones": Counter(),
            "messages": Counter(),
            "methods": Counter(),
        }
    )
    for named in (traits, pllm, *personas, heartbeat, genesis):
        image.give_name(named, named.own("name"))
    root["primordial"] = list(root["names"])
    root["policy"] = POLICY
    record_shape(image, SHAPE)
    renewal.renew(image)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Awaken the image: create its first objects, or check that it is still itself.")
    parser.add_argument("--model", type=Path, help="directory of the model to keep as blobs (only when the image is new)")
    parser.add_argument("--name", default="", help="what the model is called; default: what its files say")
    parser.add_argument("--adapter", type=Path, help="directory of the adapter to keep as blobs (only when the image is new)")
    parser.add_argument("--json", action="store_true", help="one JSON object per step")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for the ZEO server")
    options = parser.parse_args()
    logs.start("awakening", "info")

    def report(step: str, detail: str, done: bool) -> None:
        line: Any = json.dumps({"step": step, "detail": detail, "done": done}) if options.json else f"{step}: {detail}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        configuration = load()
        configuration.home.ensure()
        sources = [path for path in (options.model, options.adapter) if path is not None]
        if not wait_for_files(configuration, seconds=options.wait):
            raise ImageUnreachable(f"no image answers at {configuration.home.zeo_socket}; batos up starts it, batos logs image tells more")
        confine("awakening", configuration, profiles.awakening_profile(configuration, sources))
        image = open_image(configuration, options.wait)
    except (SettingsError, ImageUnreachable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        awaken(image, configuration, options.model, options.adapter, report, options.name)
        audit_again(image, report)
    except (ImageBroken, codex.CodexBroken, ImageError, OSError, TransientError, StorageError) as error:
        sys.stderr.write(f"{error}; {error.remedy}\n" if isinstance(error, ImageError) and error.remedy else f"{error}\n")
        return 1
    finally:
        image.close()
    return 0
