"""A process that is killed in the middle of an undo: `python -m tests.uvm.history.killed SOCKET POINT WHAT`.

It carries out `undo_ WHAT` as message `POINT/1` on the image behind a ZEO server, and ends itself with SIGKILL at a point of its way.
"""

import os
import signal
import sys
from typing import Any

import ZEO

from tests.uvm.history.past import Past
from uvm.image.image import Database, Image
from uvm.runtime import recollection

POINTS = ("writing", "voting", "voted", "finished")


def die(*_arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    socket, point, subject = sys.argv[1:]
    image = Image(Database(ZEO.client(socket, wait_timeout=10, server_sync=True)))
    past = Past(image, "uvm-9")
    storage: Any = image.connection._storage
    if point == "writing":
        put, written = recollection._put, []

        def puts(*arguments: Any) -> None:
            put(*arguments)
            written.append(1)
            if len(written) == 2:
                die()

        recollection._put = puts
    elif point == "voting":
        storage.tpc_vote = die
    elif point == "voted":
        storage.tpc_finish = die
    past.run(past.delivery("genesis_obj", "undo_", subject, session=point, seq=1))
    die()


if __name__ == "__main__":
    main()
