"""What vLLM's processes run first.

vLLM starts them by multiprocessing's spawn: a new interpreter, which imports the parent's main module under the name
`__mp_main__` before anything else. The engine presents this module as the main one (`first_module`), and that is the
hook by which its processes take their place, and those that they start in turn: they die with the process that started
them, however it ends; they leave its process group, so that a signal to the group reaches the worker alone, which then
ends them in order; and they log as everybody does.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deploy import logs, process


@contextmanager
def first_module() -> Iterator[None]:
    """While this is open, processes that are started by spawn begin here."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = importlib.import_module("inference_worker.engine.processes")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _take_place() -> None:
    process.die_with_parent()
    os.setpgrp()
    logs.start("engine", "warning")


if __name__ == "__mp_main__":
    _take_place()
