"""What tools have sent and nobody has looked at yet. Owned by the bridge's one thread; no clock, no sockets.

ZeroMQ gives out messages connection after connection, and to look at one takes ten times as long as to receive it. So a good many are
received at once, and looked at in turns: principals take turns, and each one's connections. Who sends now and then has not to wait until
all that somebody else has sent was looked at.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

_Message = TypeVar("_Message")

_Connections = OrderedDict[bytes, deque[_Message]]


class Inbox(Generic[_Message]):
    """Messages in the order in which they are to be looked at. Those of one connection stay in order."""

    def __init__(self) -> None:
        self._principals: OrderedDict[str, _Connections[_Message]] = OrderedDict()
        self._messages = 0

    def __len__(self) -> int:
        return self._messages

    def put(self, principal: str, connection: bytes, message: _Message) -> None:
        """A message has come by this connection of this principal."""
        connections = self._principals.get(principal)
        if connections is None:
            connections = self._principals[principal] = OrderedDict()
        messages = connections.get(connection)
        if messages is None:
            messages = connections[connection] = deque()
        messages.append(message)
        self._messages += 1

    def take(self) -> _Message:
        """The next message. Raises KeyError where there is none."""
        principal, connections = self._principals.popitem(last=False)
        connection, messages = connections.popitem(last=False)
        message = messages.popleft()
        # Who had its turn comes after the others.
        if messages:
            connections[connection] = messages
        if connections:
            self._principals[principal] = connections
        self._messages -= 1
        return message
