"""Fixtures of the UVM's tests: the trial server, once a module, and houses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.settings import TrialSettings
from tests.uvm.houses import House
from tests.uvm.images import awakened
from uvm.objects import KIND, UvmObject
from uvm.trial.client import TrialServer


@pytest.fixture(scope="module")
def trials() -> Iterator[Any]:
    server = TrialServer.start(TrialSettings())
    yield server
    server.stop()


@pytest.fixture
def build_house(trials: TrialServer, tmp_path: Path) -> Iterator[Any]:
    with awakened() as image:
        image.manager.begin()
        image.named("pLLM_obj").put("model", UvmObject({KIND: "model", "digest": "0" * 64, "blobs": {}, "name": "scripted"}))
        image.manager.commit()
        (tmp_path / "models" / ("0" * 64)).mkdir(parents=True)

        def make(**bodies: Any) -> Any:
            drafts = bodies.pop("drafts", 2)
            settings = {name: bodies.pop(name) for name in ("risk", "most_drafts", "varied") if name in bodies}
            return House(image, trials, bodies, tmp_path, drafts=drafts, **settings)

        yield make
