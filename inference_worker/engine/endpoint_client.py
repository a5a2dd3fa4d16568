"""HTTP to the model's server: one session of bounded connections, every wait with a deadline, what goes wrong sorted by kind.

The endpoint's engine owns it, in the worker's event loop. aiohttp is the client because vLLM draws it in anyway, it reads a stream line by
line in bounded memory, closing a response closes its connection (by which the server knows to end the output), and its errors tell
a certificate from a refused connection from one that was cut. Nothing is redirected, so that the key goes nowhere else, and no proxy of the
environment is used. The confinement bounds the port and not the host: that a connection is to an address of the configured host is checked
here, before it is made (`OneServer`).
"""

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError

from deploy.endpoint import Endpoint, EndpointFault, ServedModel, models
from inference_worker.engine import openai_wire
from inference_worker.engine.openai_wire import CompletionChunk
from inference_worker.errors import EndpointFailed

_QUESTION_S: Final = 60.0
"""The longest that anything but an output may take: vLLM reads an adapter while it is asked to."""

LARGEST_ANSWER: Final = 1 << 20
"""Bytes of the largest answer that is no stream, and of a stream's longest line."""

# Servers close what was idle for a few seconds (uvicorn for five), which must not happen under a request.
_IDLE_CONNECTION_S: Final = 2.0

_STREAM_BASE, _STREAM_PER_TOKEN = 1 << 16, 8192
_DONE: Final = b"[DONE]"


class Unreachable(Exception):
    """Nobody answers at the address."""


class Broken(Exception):
    """The connection ended before the answer did."""


class OneServer(AbstractResolver):
    """Looks up the addresses of one host, and makes sockets for connections to its port at these alone."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._addresses = {host}  # an address for a name is not looked up
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Raises OSError, also for the name of another host."""
        if (host, port) != (self._host, self._port):
            raise PermissionError(f"{host}:{port} is not {self._host}:{self._port}, and is not asked")
        results = await self._resolver.resolve(host, port, family)
        self._addresses = {result["host"] for result in results}
        return results

    async def close(self) -> None:
        await self._resolver.close()

    def socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for what `getaddrinfo` said of an address. Raises PermissionError for one that is not the server's."""
        family, kind, protocol, _, (host, port, *_) = address
        if host not in self._addresses or port != self._port:
            raise PermissionError(f"{host}:{port} is no address of {self._host}:{self._port}, and is not connected to")
        return socket.socket(family, kind, protocol)


class EndpointClient:
    """Requests to one server. `connections`: how many at once; `connect_s` and `silence_s`: the settings of these names."""

    def __init__(self, server: Endpoint, connections: int, connect_s: float, silence_s: float) -> None:
        self._server, self._connect_s, self._silence_s = server, connect_s, silence_s
        only = OneServer(server.host, server.port)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                ssl=server.tls if server.tls is not None else True,
                keepalive_timeout=_IDLE_CONNECTION_S,
                resolver=only,
                socket_factory=only.socket,
            ),
            # Compressed, a small answer could become a large one.
            headers={**server.headers, "Accept-Encoding": "identity"},
            auto_decompress=False,
            read_bufsize=LARGEST_ANSWER // 2,
            trust_env=False,
        )

    async def close(self) -> None:
        """End all connections; whatever still waits for them fails as Broken."""
        await self._session.close()

    async def models(self) -> list[ServedModel]:
        """What the server serves. Raises Unreachable, Broken, Complaint, EndpointFailed."""
        try:
            return models(self._server, await self._body("GET", "/v1/models"))
        except EndpointFault as error:
            raise EndpointFailed(f"{error}; inference.endpoint must be the address of a server like vLLM's") from error

    async def get(self, path: str) -> None:
        """Ask for a page whose content says nothing. Raises as `models` does."""
        await self._body("GET", path)

    async def post(self, path: str, body: dict[str, Any]) -> None:
        """Have something done. Raises as `models` does."""
        await self._body("POST", path, body)

    async def steps(self, path: str, body: dict[str, Any]) -> AsyncGenerator[CompletionChunk, None]:
        """The events of one output, to its end. Whoever leaves early closes the iterator, which ends the output at the server.

        Raises Unreachable, Broken, Complaint, EndpointFailed.
        """
        async with self._open("POST", path, body, None) as response:
            if response.content_type != "text/event-stream":
                raise self._strange(f"a stream was asked for, and {response.content_type} came")
            left = _STREAM_BASE + _STREAM_PER_TOKEN * int(body["max_tokens"])
            finished = False
            async for line in response.content:
                left -= len(line)
                if left < 0:
                    raise self._strange("its stream is longer than any answer of so many tokens")
                field, _, value = line.strip().partition(b":")
                if field != b"data":
                    continue  # comments keep the connection alive
                if (payload := value.strip()) == _DONE:
                    return
                try:
                    event = openai_wire.step(payload)
                except openai_wire.Malformed as error:
                    raise self._strange(str(error)) from error
                finished = finished or bool(event.finish)
                yield event
            if not finished:
                raise Broken("the stream ended before the output did")

    async def _body(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        async with self._open(method, path, body, _QUESTION_S) as response:
            return await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > LARGEST_ANSWER:
                raise self._strange(f"its answer is longer than {LARGEST_ANSWER} bytes")
        return bytes(content)

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: dict[str, Any] | None, total_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of status 200, closed at the end however that comes. What fails within is sorted as well."""
        try:
            response = await self._session.request(
                method,
                self._server.base + path,
                data=None if body is None else msgspec.json.encode(body),
                headers=None if body is None else {"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=self._connect_s, sock_read=self._silence_s),
                allow_redirects=False,
            )
            try:
                if 300 <= response.status < 400:
                    where = self._server.shown(response.headers.get("Location", "elsewhere"), 200)
                    raise EndpointFailed(
                        f"{self._server.base} sends us on to {where}; the key goes nowhere else, so set inference.endpoint to that address"
                    )
                if response.status != 200:
                    complaint = openai_wire.complaint(response.status, await self._read(response))
                    raise openai_wire.Complaint(response.status, self._server.shown(str(complaint)))
                yield response
            finally:
                # What is not read to its end is not kept: the server sees that nobody listens.
                response.close()
        except aiohttp.ClientSSLError as error:
            reason = self._server.shown(str(getattr(error, "certificate_error", error)))
            raise EndpointFailed(
                f"{self._server.base} is not to be trusted: {reason}; inference.endpoint_ca names the file of the certificates that"
                " vouch for it, and inference.endpoint must have the name that its own is for"
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(self._server.shown(str(error))) from error
        except aiohttp.SocketTimeoutError as error:
            raise EndpointFailed(
                f"{self._server.base} sent nothing for {self._silence_s:g} s (inference.endpoint_silence_s); look at its log and load"
            ) from error
        except TimeoutError as error:
            raise EndpointFailed(f"{self._server.base}{path} was not answered within {total_s or 0:g} s; look at its log") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise Broken(self._server.shown(str(error) or type(error).__name__)) from error
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise self._strange(f"{type(error).__name__}: {error}") from error

    def _strange(self, symptom: str) -> EndpointFailed:
        return EndpointFailed(
            f"{self._server.base} does not speak the protocol: {self._server.shown(symptom)};"
            " inference.endpoint must be the address of a server like vLLM's"
        )
