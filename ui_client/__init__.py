"""What a person or a program holds: the client library, the `batos` command, the window."""

from ui_client.client.client import (
    AsyncClient,
    BridgeBusy,
    BridgeUnreachable,
    Client,
    ClientError,
    Example,
    Missed,
    Reference,
    RemoteError,
    Result,
)

__all__ = [
    "AsyncClient",
    "BridgeBusy",
    "BridgeUnreachable",
    "Client",
    "ClientError",
    "Example",
    "Missed",
    "Reference",
    "RemoteError",
    "Result",
]
