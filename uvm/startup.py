"""What each client of the image does before it serves: wait for the server's files, confine itself, wait for the awakening.

Called once, in this order, by the main thread of a UVM and of the heartbeat; the awakening and the importer wait for the files and confine
themselves.
"""

import tempfile
import time
from typing import Final

import structlog
import zmq

from deploy import confinement
from deploy.confinement import Profile
from deploy.process import Stop
from deploy.settings import Configuration
from uvm.image import codex
from uvm.image.client import ImageUnreachable
from uvm.image.image import Image
from uvm.image.shape import SHAPE, expect_known

_FILES_S: Final = 60.0
_AWAKE_S: Final = 600.0

log = structlog.get_logger()


def wait_for_files(configuration: Configuration, stop: Stop | None = None, seconds: float = _FILES_S) -> bool:
    """Wait until the ZEO server has made its directories; false when it did not, or a stop came first.

    Confinement names directories, not paths: a new image's storage makes its blob directory anew, and a process that was confined to
    an earlier one could never read a blob.
    """
    until = time.monotonic() + seconds
    poller = zmq.Poller()
    if stop is not None:
        poller.register(stop.fileno(), zmq.POLLIN)
    while not (stop is not None and stop.requested):
        if configuration.home.zeo_socket.exists() and (configuration.home.blobs / ".layout").exists():
            return True
        if time.monotonic() > until:
            log.error("the ZEO server did not come", seconds=seconds, socket=str(configuration.home.zeo_socket))
            return False
        poller.poll(50)
    return False


def wait_until_awake(image: Image, stop: Stop) -> bool:
    """Wait for the primordial objects, in the shape that this code knows; false when the stop came first.

    Raises CodexBroken, DamagedRecord, ImageNewer, ImageUnreachable.
    """
    until = time.monotonic() + _AWAKE_S
    told = False
    while not stop.requested:
        image.manager.begin()
        try:
            if image.awake and expect_known(image) == SHAPE:
                codex.verify(image)
                return True
        finally:
            image.manager.abort()
        if not told:
            log.info("waiting for the awakening")
            told = True
        if time.monotonic() > until:
            raise ImageUnreachable(f"the image was not awakened within {_AWAKE_S:g} s; batos up does that")
        poller = zmq.Poller()
        poller.register(stop.fileno(), zmq.POLLIN)
        poller.poll(200)
    return False


def confine(name: str, configuration: Configuration, profile: Profile) -> bool:
    """Confine this client of the image; whether every required layer is in force. Called before any thread is started."""
    scratch = configuration.home.path / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(scratch)
    return confinement.enter(name, profile, configuration.home.run)
