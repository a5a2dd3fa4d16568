"""What both clients are made of: a connection, a session, and how long things may take."""

import uuid
from pathlib import Path

from deploy import settings
from deploy.keys import ClientKey, read_client_key
from deploy.settings import Configuration, is_tcp
from ui_client.client.channel import Channel
from ui_client.client.outbox import Outbox


class ClientSession:
    """One session on one connection, whose thread is the channel's."""

    def __init__(
        self,
        endpoint: str | None = None,
        configuration: Configuration | None = None,
        *,
        session: str = "",
        name: str = "",
        connect_timeout: float = 5.0,
    ) -> None:
        """Connect to `endpoint`, or to the bridge of `configuration` (by default the one in force).

        Over TCP the key of `bridge.key` is used. `connect_timeout`: seconds until a bridge that was never heard counts as unreachable.
        `session` must be new for each client.
        Raises deploy.settings.SettingsError.
        """
        self._configuration = configuration
        self.session = session or uuid.uuid4().hex
        self._patience = connect_timeout
        self._endpoint = endpoint or self.configuration.bridge_endpoint
        self._key = self._key_for(self._endpoint)
        self._channel = Channel(self._endpoint, Outbox(self.session, name, connect_timeout), self._key)

    @property
    def configuration(self) -> Configuration:
        """The configuration that this client was given, or the one in force."""
        if self._configuration is None:
            self._configuration = settings.load()
        return self._configuration

    @property
    def resent(self) -> int:
        """How many requests were sent again, since the bridge was away, busy, or another one."""
        return self._channel.resent

    def _key_for(self, endpoint: str) -> ClientKey | None:
        path = self.configuration.settings.bridge.key if is_tcp(endpoint) else ""
        return read_client_key(Path(path)) if path else None

    def _deadline(self, deadline: float | None) -> float:
        if deadline is not None and deadline <= 0:
            raise ValueError(f"a deadline is a positive number of seconds, not {deadline}")
        return deadline or self.configuration.settings.uvm.generation_deadline_s
