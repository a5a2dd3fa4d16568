"""Metrics: one Prometheus endpoint a process, on loopback only.

Called once by a process's `main()`. A process that confines itself calls `listen` before, and `start` on what it got
after, so that the thread that answers is confined as well; every other process calls `serve`, which is both. Where a
process listens is written to `run/metrics/<process>.port`, so that readers need not guess.
"""

import errno
import threading
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

_LOOPBACK = "127.0.0.1"


class MetricsListener:
    """A listener that is bound, and answers once it is started. Owned by the process's main thread."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self.port = int(server.server_port)

    def start(self) -> None:
        """Answer from now on, in a daemon thread."""
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Give the port back. For an endpoint that was never started."""
        self._server.server_close()


def listen(process: str, base_port: int, offset: int, run: Path) -> MetricsListener:
    """Bind `base_port + offset` (`base_port` 0: any free port) for this process's metrics.

    A port that is taken is replaced by a free one, with a warning. Raises OSError when no port can be had.
    """
    number = base_port + offset if base_port else 0
    try:
        endpoint = _bind(number)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        endpoint = _bind(0)
        structlog.get_logger().warning(
            "the port for metrics is not to be had, another is used", wanted=number, port=endpoint.port, reason=str(error)
        )
    directory = run / "metrics"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{process}.port").write_text(f"{endpoint.port}\n")
    return endpoint


def serve(process: str, base_port: int, offset: int, run: Path) -> int:
    """Bind and answer at once; return the port. As `listen` otherwise."""
    endpoint = listen(process, base_port, offset, run)
    endpoint.start()
    return endpoint.port


def port(process: str, run: Path) -> int | None:
    """Where `process` serves its metrics; None when it never said so."""
    try:
        return int((run / "metrics" / f"{process}.port").read_text())
    except (FileNotFoundError, ValueError):
        return None


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Requests for metrics are not worth a line each."""


def _bind(number: int) -> MetricsListener:
    return MetricsListener(make_server(_LOOPBACK, number, make_wsgi_app(), ThreadingWSGIServer, handler_class=_Silent))
