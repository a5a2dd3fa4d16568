"""The `batos` command's way to the bridge. Used by every command that talks to the image, in its one thread."""

import socket

from deploy import service, settings
from deploy.settings import Configuration
from ui_client.client.client import Client
from ui_client.report import Failure


def connect(configuration: Configuration | None = None) -> Client:
    """A client of the image in force. Raises Failure at once when the service is not running at all.

    A bridge that is only away for a moment (supervisord runs and will start it again) is waited for by the client.
    """
    configuration = configuration or settings.load()
    path = configuration.bridge_endpoint.removeprefix("ipc://")
    if path != configuration.bridge_endpoint and not listens(path) and not _supervised(configuration):
        raise Failure(
            "BridgeUnreachable",
            f"no service runs for {configuration.home.path}: nobody listens at {path}",
            "start it with `batos up`, or set BATOS_HOME to the home of one that runs",
        )
    return Client(configuration=configuration)


def listens(path: str) -> bool:
    """Does somebody accept connections at this Unix socket?"""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _supervised(configuration: Configuration) -> bool:
    try:
        return bool(service.statuses(configuration))
    except service.ServiceError:
        return False
