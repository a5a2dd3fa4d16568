"""A process that is killed in the middle of an import: `python -m tests.uvm.transporter.killed SOCKET POINT`.

It imports what was uploaded, whose reference it reads from its standard input, as message `POINT/1` on the image behind a ZEO server, and
ends itself with SIGKILL at a point of its way.
"""

import os
import signal
import sys
from typing import Any

import ZEO

from tests.uvm.transporter.world import World
from uvm.image.image import Database, Image
from uvm.protocol import Import, Reference
from uvm.transporter import importer

POINTS = ("planned", "writing", "voting", "voted", "finished")
TESTING = "testing"
"""While methods are tried on their examples."""


def die(*_arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    socket, point = sys.argv[1:]
    upload = Reference.parse(sys.stdin.read().strip())
    image = Image(Database(ZEO.client(socket, wait_timeout=10, server_sync=True)))
    storage: Any = image.connection._storage
    imports: Any = importer
    if point == "planned":
        imports._carry_out = die
    elif point == "writing":
        carry_out, written = imports._carry_out, []

        def carries_out(*arguments: Any) -> Any:
            written.append(carry_out(*arguments))
            if len(written) == 2:
                die()
            return written[-1]

        imports._carry_out = carries_out
    elif point == TESTING:
        worlds: Any = World
        worlds.test = die
    elif point == "voting":
        storage.tpc_vote = die
    elif point == "voted":
        storage.tpc_finish = die
    World(image, "uvm-9").ask(Import(id=1, upload=upload, rename={"shop": f"shop {point}"}, session=point, seq=1))
    die()


if __name__ == "__main__":
    main()
