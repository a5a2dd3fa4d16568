"""A client in another language, written from docs/protocol.md alone, runs the vectors and holds a conversation."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.settings import Configuration

NODE = Path(__file__).parents[1] / "node"
VECTORS = Path(__file__).parent / "vectors.json"


UNREACHABLE = {"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ERR_SOCKET_TIMEOUT"}
"""What npm calls its error where it could not ask the registry. Whatever the registry answered is none of these."""

_CODE = re.compile(r"^npm (?:error|ERR!) code (\w+)\r?\n", re.MULTILINE)


def no_registry(said: str) -> bool:
    """Whether npm failed because nobody can be asked for packages here."""
    code = _CODE.search(said)
    return code is not None and code[1] in UNREACHABLE


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node client beside its two packages."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs node and npm, which this host does not have")
    directory = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(NODE / name, directory)
    options = ("--no-audit", "--no-fund", "--prefer-offline", "--fetch-timeout=30000", "--fetch-retries=1")
    done = subprocess.run(["npm", "ci", *options], cwd=directory, capture_output=True, text=True, timeout=180)
    if done.returncode != 0 and no_registry(done.stderr):
        pytest.skip(f"npm reaches no registry from here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize(
    ("said", "skipped"),
    [
        ("npm error code ECONNREFUSED\nnpm error errno ECONNREFUSED\nnpm error FetchError: request to …\n", True),
        ("npm ERR! code EAI_AGAIN\nnpm ERR! syscall getaddrinfo\n", True),
        ("npm warn old lockfile\nnpm error code ENOTFOUND\n", True),
        ("npm error code EUSAGE\nnpm error `npm ci` can only install packages when …\n", False),
        ("npm error code E404\nnpm error 404 Not Found - GET …, a host that says ENOTFOUND\n", False),
        ("npm error code EINTEGRITY\n", False),
        ("npm error code 1\nnpm error command failed\nnpm error command sh -c node-gyp … ECONNREFUSED\n", False),
        ("", False),
    ],
)
def test_only_an_unreachable_registry_lets_the_client_in_javascript_be_skipped(said: str, skipped: bool) -> None:
    assert no_registry(said) is skipped


def test_a_client_in_javascript_needs_the_document_alone(running: Configuration, installed: Path) -> None:
    done = subprocess.run(
        ["node", "client.mjs", running.bridge_endpoint, str(VECTORS)], cwd=installed, capture_output=True, text=True, timeout=60
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == [] and found["checks"] > 150
