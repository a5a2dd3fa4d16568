"""What every test may rely on."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In two processes, a file's tests stay together, and so do all that need the real model: its engine is started once for them."""
    for item in items:
        group = "model" if item.get_closest_marker("model") else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
