"""What can go wrong for a program that talks to the image. Raised by the client in the thread that called it."""

from typing import Any


class ClientError(Exception):
    """Anything that kept a message from its result."""


class RemoteError(ClientError):
    """The image, or the bridge, answered an Error. `type` is one of those in docs/protocol.md, `remedy` says what to do.

    Nothing changed, unless `details["outcome"]` is `unknown`.
    """

    def __init__(self, type: str, message: str, remedy: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message
        self.remedy = remedy
        self.details = details or {}


class BridgeUnreachable(ClientError):
    """Nobody answers at the bridge's endpoint; whether the message was carried out is unknown if it was ever reached."""


class BridgeBusy(ClientError):
    """The bridge's queue, or this client's own, stayed full until the deadline; the message was not accepted."""
