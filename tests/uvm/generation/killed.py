"""A process that revokes an adapter and is killed on the way: `python -m tests.uvm.generation.killed SOCKET BLOBS WHERE [TIMES]`.

WHERE is a method of ZEO's client, before whose call number TIMES the process ends as kill -9 ends it; `never`: not at all.
"""

import os
import signal
import sys
from typing import Any

import ZEO.ClientStorage
from ZEO.ClientStorage import ClientStorage

from tests.uvm.images import Bench
from uvm.image.image import Database, Image

DIGEST = "c" * 64
METHODS = 40


def kill_before(name: str, times: Any) -> None:
    """Have the process end at that call."""
    original, calls = getattr(ClientStorage, name), 0

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *args, **kwargs)

    setattr(ClientStorage, name, call)


def main() -> None:
    socket, blobs, where, times = sys.argv[1:5]
    storage = ZEO.ClientStorage.ClientStorage(socket, wait_timeout=10, blob_dir=blobs, shared_blob_dir=True, server_sync=True)
    image = Image(Database(storage))
    if where != "never":
        kill_before(where, int(times))
    outcome = Bench(image).send("pLLM_obj", "revokeAuthor_", "adapter", DIGEST, session="s", seq=1)
    sys.stdout.write(type(outcome).__name__)
    image.close()


if __name__ == "__main__":
    main()
