"""Fixtures of the tests of exports and imports."""

from collections.abc import Iterator

import pytest

from tests.uvm.images import awakened
from tests.uvm.transporter.world import World
from uvm.trial.client import TrialServer


@pytest.fixture
def world(trials: TrialServer) -> Iterator[World]:
    """An image that imports; methods with examples are tried in it."""
    with awakened() as image:
        yield World(image, trials=trials)
