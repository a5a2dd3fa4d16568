"""How a process comes to the image, and comes back to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.settings import Configuration, load
from tests.zeo_server.server import Server, running_server
from uvm.image.client import open_image
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.objects import UvmObject


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return load({"BATOS_HOME": str(tmp_path)}, tmp_path)


def make(image: Image, names: list[str]) -> None:
    image.manager.begin()
    for name in names:
        image.root[name] = UvmObject({})
    image.manager.commit()


def test_clients_of_a_killed_server_make_new_objects_that_are_nobody_elses(server: Server, configuration: Configuration) -> None:
    """The server that comes after it counts on from what was stored, and hands out again what its clients still hold."""
    images = [open_image(configuration, 10.0) for _ in range(3)]
    for number, image in enumerate(images):
        make(image, [f"before-{number}"])
    server.kill()
    server.start()
    for number, image in enumerate(images):
        Transactor(image, "uvm-1").wait_for_image()
        make(image, [f"after-{number}-{number_within}" for number_within in range(120)])
    images[0].manager.begin()
    assert len({table._p_oid for table in images[0].root.values() if isinstance(table, UvmObject)}) == 3 * 121
    for image in images:
        image.close()
