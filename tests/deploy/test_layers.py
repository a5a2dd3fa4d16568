"""Each layer of confinement alone, and all together, against native code: the table of `docs/security.md` is what happens."""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.confinement import LAYERS
from tests.deploy.attacks import ALONE, ATTACKS, HOLDS, QUEUE, SHARED_KEY, AttackTarget, table

ROOT = Path(__file__).parents[2]
_libc = ctypes.CDLL(None, use_errno=True)

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the table is that of a process which root started; nobody else can do half of it")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackTarget]:
    """Something to attack: files, listeners, shared memory, a message queue, and a process."""
    directory = tmp_path_factory.mktemp("attacked")
    for name in ("outside", "home", "home/mnt", "shared"):
        (directory / name).mkdir(mode=0o700 if name == "outside" else 0o755)
    for above in directory.parents:
        if above.name.startswith(("pytest-", "popen-")):  # pytest's own, and those of each of its processes
            above.chmod(0o711)
    directory.chmod(0o711)
    (directory / "home" / "own").touch()
    os.chown(directory / "home", 65534, 65534)
    # Without capabilities, as every process of the service: otherwise the kernel would keep it from those who have fewer.
    script = "import time; from deploy.capabilities import *; bound(()); drop(()); print(flush=True); time.sleep(300)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE) as victim, ExitStack() as clean_up:
        assert victim.stdout is not None
        clean_up.callback(victim.kill)
        victim.stdout.readline()
        target = AttackTarget(directory, victim.pid)
        target.secret.write_text("secret")
        target.secret.chmod(0o600)
        segment = _libc.shmget(SHARED_KEY, 4096, 0o600 | 0o1000)
        queue = _libc.mq_open(QUEUE, os.O_CREAT | os.O_RDWR, 0o600, None)
        tcp = socket.create_server(("127.0.0.1", 0))
        with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as abstract, tcp:
            unix.bind(str(target.listener))
            abstract.bind(target.abstract)
            for listener in (unix, abstract, tcp):
                listener.listen(64)
            target.port = tcp.getsockname()[1]
            yield target
        _libc.shmctl(segment, 0, None)
        os.close(queue)
        _libc.mq_unlink(QUEUE)


def attacked(target: AttackTarget, layers: tuple[str, ...]) -> tuple[list[str], dict[str, tuple[bool, str]]]:
    """The layers in force, and for each attack whether it was held, and by which error."""
    target.secret.chmod(0o600)
    os.chown(target.secret, 0, 0)
    (target.home / "own").chmod(0o600)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.deploy.attacks",
            ",".join(layers),
            str(target.secret.parents[1]),
            str(target.victim),
            str(target.port),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, *lines = done.stdout.splitlines()
    outcomes = [json.loads(line) for line in lines]
    assert [name for name, _, _ in outcomes] == list(ATTACKS), (done.stdout[-300:], done.stderr[-1000:])
    return json.loads(first), {name: (is_held, detail) for name, is_held, detail in outcomes}


def test_without_confinement_every_attack_works(target: AttackTarget) -> None:
    _, outcome = attacked(target, ())
    assert [(name, detail) for name, (is_held, detail) in outcome.items() if is_held] == []


@pytest.mark.parametrize("layer", ALONE)
def test_a_layer_alone_holds_what_the_table_says(layer: str, target: AttackTarget) -> None:
    in_force, outcome = attacked(target, (layer,))
    if layer not in in_force:
        pytest.skip(f"this host lacks the layer {layer}")
    prevented = {name for name, (is_held, _) in outcome.items() if is_held}
    assert prevented == {name for name, layers in HOLDS.items() if layer in layers}, outcome


def test_all_layers_together_hold_every_attack_even_with_roots_number(target: AttackTarget) -> None:
    in_force, outcome = attacked(target, tuple(layer for layer in LAYERS if layer != "user"))
    lacking = {layer for layer in ALONE if layer not in in_force and layer != "user"}
    through = {name for name, (is_held, _) in outcome.items() if not is_held}
    assert through <= {name for name, layers in HOLDS.items() if layers <= lacking | {"user"}}, outcome


def test_the_table_in_the_document_is_this_one() -> None:
    assert table() in (ROOT / "docs" / "security.md").read_text()


def test_every_attack_is_held_by_a_layer_that_needs_no_other_account() -> None:
    assert not [name for name, layers in HOLDS.items() if not layers - {"user"}]
