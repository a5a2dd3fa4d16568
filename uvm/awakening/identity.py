"""Who the image is, and the receipts of its upgrades: `python -m uvm.awakening.identity [record]`, run by the upgrader.

Without a word it prints, as one JSON object, what stays the same for good when everything around the image is replaced (`digest`,
`codex`), and what only grows (`names`, `chronicle`). With `record` it reads the receipt of an upgrade as JSON from stdin and writes it
into the chronicle, once for each number of an upgrade and wish: a second time it changes nothing.
"""

import argparse
import hashlib
import json
import sys
from contextlib import suppress
from typing import Any

from transaction.interfaces import NoTransaction, TransientError
from ZODB.POSException import StorageError

from deploy import logs, profiles
from deploy.settings import SettingsError, load
from uvm.awakening import renewal
from uvm.errors import ImageError
from uvm.history import chronicle
from uvm.image import codex, pages
from uvm.image.client import ImageUnreachable, open_image
from uvm.image.image import Image
from uvm.image.large import loaded
from uvm.image.shape import SHAPE, expect_known
from uvm.image.transactor import TRIES, back_off
from uvm.objects import UvmObject
from uvm.startup import confine, wait_for_files

WRITER = "upgrader"


def identity(image: Image) -> dict[str, Any]:
    """Who the image is, in its open transaction. Raises CodexBroken, ImageNewer."""
    inscribed = codex.verify(image)
    born = sorted((name, image.oid_of(image.named(name)).hex()) for name in image.root["primordial"] if name not in renewal.BROUGHT)
    text = json.dumps([inscribed, born], separators=(",", ":"))
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "codex": inscribed,
        "shape": expect_known(image),
        "known": SHAPE,
        "names": len(image.names),
        "chronicle": _heads(image),
    }


def record(image: Image, receipt: dict[str, Any]) -> bool:
    """Write a receipt into the chronicle, in the current transaction, unless it is there; whether it was written now."""
    head = image.shard("chronicle", WRITER).own(WRITER)
    if type(head) is UvmObject and any(_same(located.entry, receipt) for located in pages.newest_first(head)):
        return False
    chronicle.record(image, "upgrade", author=WRITER, cause=f"upgrade {receipt['upgrade']}", facts=receipt)
    return True


def _same(entry: dict[str, Any], receipt: dict[str, Any]) -> bool:
    facts = loaded(entry.get("facts"))
    return isinstance(facts, dict) and all(facts.get(name) == receipt.get(name) for name in ("upgrade", "wish", "outcome"))


def _heads(image: Image) -> dict[str, list[int]]:
    """By writer, the number of the newest page of its book, and how many entries that has."""
    heads = {}
    for shard in image.shards("chronicle"):
        for writer in shard.names():
            newest = next(pages.newest_first(shard.own(writer)), None) if type(shard.own(writer)) is UvmObject else None
            if newest is not None:
                heads[writer] = [newest.position.page, newest.position.offset + 1]
    return heads


def _carry_out(image: Image, receipt: dict[str, Any] | None) -> dict[str, Any]:
    for tried in range(1, TRIES + 1):
        image.manager.begin()
        try:
            if receipt is None:
                return identity(image)
            done = record(image, receipt)
            image.manager.commit()
            return {"recorded": done}
        except (TransientError, StorageError):
            if tried == TRIES:
                raise
            back_off(tried)
        finally:
            with suppress(NoTransaction):
                image.manager.abort()
    raise AssertionError("the last try returns or raises")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Say who the image is, or write the receipt of an upgrade into it.")
    parser.add_argument("what", nargs="?", choices=["say", "record"], default="say")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for the ZEO server")
    options = parser.parse_args()
    logs.start("identity", "warning")
    try:
        receipt = json.loads(sys.stdin.read()) if options.what == "record" else None
        configuration = load()
        if not wait_for_files(configuration, seconds=options.wait):
            raise ImageUnreachable(f"no image answers at {configuration.home.zeo_socket}")
        confine("identity", configuration, profiles.heartbeat_profile(configuration))
        image = open_image(configuration, options.wait)
    except (SettingsError, ImageUnreachable, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    image.writer = WRITER
    try:
        sys.stdout.write(json.dumps(_carry_out(image, receipt)) + "\n")
    except (codex.CodexBroken, ImageError, TransientError, StorageError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        image.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
