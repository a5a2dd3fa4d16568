"""Services for the tests of the bridge."""

from collections.abc import Iterator

import pytest

from tests.uvm.bridge.service import Service


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A bridge with one fake UVM, `uvm-1`; `dead_after_s` is short."""
    settings = {"BATOS_BRIDGE_DEAD_AFTER_S": "2", "BATOS_UVM_MESSAGE_LIMIT_S": "1"}
    with Service(tmp_path_factory.mktemp("home"), settings) as started:
        started.start_uvm("uvm-1")
        yield started
