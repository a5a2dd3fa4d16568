"""A client in another language, written from docs/protocol.md alone, runs the vectors and holds a conversation."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.settings import Configuration

NODE = Path(__file__).parents[1] / "node"
VECTORS = Path(__file__).parent / "vectors.json"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node client beside its two packages."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs node and npm, which this host does not have")
    directory = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(NODE / name, directory)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], cwd=directory, capture_output=True, text=True, timeout=180
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the client's packages here: {done.stderr[-200:]}")
    return directory


def test_a_client_in_javascript_needs_the_document_alone(running: Configuration, installed: Path) -> None:
    done = subprocess.run(
        ["node", "client.mjs", running.bridge_endpoint, str(VECTORS)], cwd=installed, capture_output=True, text=True, timeout=60
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == [] and found["checks"] > 150
