"""The real service without a model, in a home of its own: image, bridge (by TCP too), two UVMs and the heartbeat, once for these tests."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import zmq

from deploy import service as supervised
from deploy import supervision
from deploy.settings import Configuration, load
from ui_client import Client

PROGRAMS = ("image", "bridge", "uvm-1", "uvm-2", "heartbeat")


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configuration]:
    """The configuration of the running service."""
    home = tmp_path_factory.mktemp("conformance") / "var"
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    environment = {
        "BATOS_HOME": str(home),
        "BATOS_METRICS_BASE_PORT": "0",
        "BATOS_HEARTBEAT_INTERVAL_S": "1",
        "BATOS_BRIDGE_ENDPOINT": f"tcp://127.0.0.1:{port}",
    }
    configuration = load(environment, home.parent)
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        supervised.start(configuration, [one for one in supervision.programs(configuration) if one.name in PROGRAMS])
        subprocess.run([sys.executable, "-m", "uvm.awakening"], check=True, timeout=120, capture_output=True)
        with Client(configuration=configuration, connect_timeout=60.0) as client:
            for uvm in ("uvm-1", "uvm-2"):
                client.send("genesis_obj", "name", via=uvm, deadline=60.0)
        yield configuration
    finally:
        supervised.stop(configuration, 60.0)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
