"""Logs: JSON lines on stderr, which supervisord keeps and rotates.

Each process calls `start` once, first thing in its `main()`; afterwards any thread takes a logger with
`structlog.get_logger()`. Records of the standard library's `logging` (ZEO, ZODB, vLLM) come out in the same form.

One line is one JSON object: `time` (UTC, ISO 8601), `level`, `process`, `pid`, `event`, and the event's own keys.
"""

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def start(process: str, level: str, stream: TextIO | None = None) -> Any:
    """Set logging up for this process and return its logger. `stream` replaces stderr.

    Raises ValueError when `level` is not debug, info, warning or error. Exceptions that end a thread or the process
    are logged as well.
    """
    if level not in _LEVELS:
        raise ValueError(f"log level {level!r}; allowed: {', '.join(_LEVELS)}")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(),
        _naming(process),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer(default=repr)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    logger = structlog.get_logger(process)
    _log_what_ends(logger)
    return logger


def _naming(process: str) -> Processor:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        event["pid"] = os.getpid()
        return event

    return name


def _log_what_ends(logger: Any) -> None:
    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            logger.info("interrupted")
        else:
            logger.critical("the process ends on an error", exc_info=(kind, error, trace))

    def thread_ended(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and not issubclass(arguments.exc_type, SystemExit):
            name = arguments.thread.name if arguments.thread else "?"
            logger.critical(
                "a thread ends on an error", thread=name, exc_info=(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
            )

    sys.excepthook = ended
    threading.excepthook = thread_ended
