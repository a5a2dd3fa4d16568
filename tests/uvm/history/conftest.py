"""Benches whose images are in a file of transactions, so that history has what it has in service."""

import pytest
from ZODB.MappingStorage import MappingStorage

from tests.uvm.history.past import Past
from tests.uvm.images import awakened
from uvm.image.image import Database


@pytest.fixture
def past():
    with awakened(Database(MappingStorage())) as image:
        yield Past(image)
