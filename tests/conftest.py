"""What every test may rely on, and which tests stay together where the suite runs in two processes."""

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

ENGINES: Final = ("tests/system/", "tests/inference_worker/engine/", "tests/inference_worker/adapters/test_bad_adapters.py")
"""Tests that start the real model: one process runs them all, so that what they share is started once, and no two at a time."""


class Together(LoadScopeScheduling):
    """A file's tests run in one process, and so do all that start the real model."""

    def _split_scope(self, nodeid: str) -> str:
        path: str = nodeid.split("::")[0]
        return "engines" if path.startswith(ENGINES) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Together(config, log)
