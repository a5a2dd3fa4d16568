"""The bridge's sockets: how they are bound, and what bounds them. Used once, by the bridge's one thread, at its start and end."""

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import zmq

from deploy.settings import Configuration, SettingsError

LINGER_MS = 1000

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]


def only_bridge(configuration: Configuration) -> IO[str]:
    """Take `bridge.lock` in the run directory, which lasts as long as the file is open.

    Raises SettingsError when another bridge has it: binding alone would take its sockets' names away in silence.
    """
    lock = (configuration.home.run / "bridge.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SettingsError(f"another bridge serves {configuration.home.path}; stop it, or choose another BATOS_HOME") from None
    return lock


def for_tools(context: Context, configuration: Configuration) -> Socket:
    """The ROUTER that tools connect to. A frame up to four times the limit is read, to be refused in words; a larger one cuts
    the connection."""
    limit = 4 * configuration.settings.bridge.max_frame_bytes
    options = {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: limit, zmq.RCVHWM: 256, zmq.SNDHWM: 1000}
    return _listen(context, zmq.ROUTER, configuration.bridge_endpoint, options)


def for_uvms(context: Context, configuration: Configuration) -> Socket:
    """The ROUTER that UVMs connect to. A UVM may have all messages; a new connection of the same process takes over at once."""
    room = configuration.settings.bridge.queue + 1000
    options = {zmq.ROUTER_MANDATORY: 1, zmq.ROUTER_HANDOVER: 1, zmq.SNDHWM: room, zmq.RCVHWM: 100_000}
    return _listen(context, zmq.ROUTER, configuration.uvms_endpoint, options)


def for_subscribers(context: Context, configuration: Configuration) -> Socket:
    """The XPUB that events are published on. A subscriber that is 10,000 events behind loses some, and can tell."""
    options = {zmq.XPUB_VERBOSE: 1, zmq.MAXMSGSIZE: 4096, zmq.SNDHWM: 10_000}
    return _listen(context, zmq.XPUB, configuration.events_endpoint, options)


def remove_files(configuration: Configuration) -> None:
    """Remove the files of Unix sockets that are closed; only while the lock is held."""
    for endpoint in (configuration.bridge_endpoint, configuration.uvms_endpoint, configuration.events_endpoint):
        path = endpoint.removeprefix("ipc://")
        if path != endpoint:
            Path(path).unlink(missing_ok=True)


def _listen(context: Context, kind: int, endpoint: str, options: Mapping[zmq.SocketOption, int]) -> Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    for option, value in options.items():
        socket.setsockopt(option, value)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        context.destroy(linger=0)
        raise SettingsError(f"the bridge cannot listen on {endpoint}: {error}; free it, or set another in [bridge]") from error
    return socket
