"""What confined code can no longer do: every attack is tried in a real process, and the same attack works outside.

A child runs `confine(PROFILE)` and then an attack; it prints `refused: …` when it was stopped by an error, and
`succeeded` when nothing stopped it.
"""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from deploy import confinement, landlock
from deploy.confinement import Layer, Profile

ROOT = Path(__file__).parents[2]

CHILD = """
import ctypes, mmap, os, signal, socket, sys, threading
from pathlib import Path
from deploy.confinement import *
from deploy.profiles import *
from deploy.settings import load
from deploy.process import die_with_parent, parent_death_signal
target = Path({target!r})
prepared = open(os.devnull)
before = socket.socketpair()
def attack():
{attack}
layers = confine({profile}) if {confined} else []
assert sufficient(layers), layers
try:
    got = attack()
except BaseException as error:
    os.write(1, f"refused: {{type(error).__name__}}: {{error}}".encode())
else:
    os.write(1, f"succeeded: {{got}}".encode())
"""

TRIAL = "trial_profile(memory_mb=128, cpu_s=1)"
IMAGE = "image_profile(load({{'BATOS_HOME': {home!r}}}, Path({home!r})))"


def child(tmp_path: Path, attack: str, profile: str, *, confined: bool = True) -> "subprocess.CompletedProcess[str]":
    home = tmp_path / "home"
    (home / "run" / "image").mkdir(parents=True, exist_ok=True)
    target = tmp_path / "outside"
    target.write_text("secret")
    script = CHILD.format(
        target=str(target), attack=textwrap.indent(attack, "    "), profile=profile.format(home=str(home)), confined=confined
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME_": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# What each attack does, and a way to tell that it works where nothing confines it.
ATTACKS = {
    "read a file": "return target.read_text()",
    "list a directory": "return os.listdir(target.parent)",
    "write a file": "target.write_text('x')",
    "make a file": "target.with_name('new').touch()",
    "remove a file": "target.unlink()",
    "change a file's rights": "os.chmod(target, 0o777)",
    "make a TCP socket": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "make a UDP socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "make a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "make a Unix socket": "socket.socket(socket.AF_UNIX)",
    "fork": "pid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)",
    "start a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "become a program": "os.execv('/bin/true', ['true'])",
    "become a program in memory": "fd = os.memfd_create('x')\nos.write(fd, open('/bin/true', 'rb').read())\nos.execve(fd, ['true'], {})",
    "signal its parent": "os.kill(os.getppid(), signal.SIGWINCH)",
    "signal its parent's group": "os.killpg(os.getpgid(os.getppid()), signal.SIGWINCH)",
    "trace its parent": (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.ptrace(0x4206, os.getppid(), 0, 0):\n"
        "    raise OSError(ctypes.get_errno(), 'ptrace')"
    ),
    "start a thread": "thread = threading.Thread(target=int)\nthread.start()\nthread.join()",
    "make memory that can be run": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "link a file out": "os.link(target, target.with_name('linked'))",
    "leave its namespace": (
        "libc = ctypes.CDLL(None, use_errno=True)\nif libc.unshare(0x10000000):\n    raise OSError(ctypes.get_errno(), 'unshare')"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_trial_child_cannot(attack: str, tmp_path: Path) -> None:
    done = child(tmp_path, ATTACKS[attack], TRIAL)
    assert done.stdout.startswith("refused: "), (done.stdout, done.stderr)
    assert (tmp_path / "outside").read_text() == "secret"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("attack", sorted(set(ATTACKS) - {"leave its namespace", "trace its parent", "become a program in memory"}))
def test_without_confinement_the_attack_works(attack: str, tmp_path: Path) -> None:
    done = child(tmp_path, ATTACKS[attack], "None", confined=False)
    # A program that the child became says nothing and ends well.
    assert done.stdout.startswith("succeeded") or (done.returncode == 0 and not done.stdout), (done.stdout, done.stderr)


def test_the_image_server_writes_its_home_in_every_way_that_the_database_needs(tmp_path: Path) -> None:
    body = """
home = Path(os.environ["HOME_"])
(home / "live").write_text("x")
(home / "blobs" / "0x00").mkdir(parents=True)
(home / "live").rename(home / "blobs" / "0x00" / "moved")
os.link(home / "blobs" / "0x00" / "moved", home / "linked")
import tempfile
tempfile.tempdir = str(home)
with tempfile.TemporaryFile() as file:
    file.write(b"x")
os.truncate(home / "linked", 0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(home / "run" / "image" / "s"))
listener.listen()
socket.socket(socket.AF_UNIX).connect(str(home / "run" / "image" / "s"))
(home / "linked").unlink()
import xml.dom.minidom
"""
    done = child(tmp_path, body, IMAGE)
    assert done.stdout.startswith("succeeded"), (done.stdout, done.stderr)


CONNECT = "socket.create_connection(('127.0.0.1', {port}), timeout=5).close()\nreturn 'connected'"


@pytest.mark.skipif(not landlock.network_since(landlock.version()), reason="this kernel's landlock cannot refuse TCP")
def test_an_inference_worker_with_an_endpoint_reaches_its_port_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as allowed, socket.create_server(("127.0.0.1", 0)) as refusing:
        port = allowed.getsockname()[1]
        variables = f"{{{{'BATOS_HOME': {{home!r}}, 'BATOS_INFERENCE_ENDPOINT': 'http://127.0.0.1:{port}'}}}}"
        profile = f"inference_profile(load({variables}, Path({{home!r}})))"
        assert child(tmp_path, CONNECT.format(port=port), profile).stdout == "succeeded: connected"
        refused = child(tmp_path, CONNECT.format(port=refusing.getsockname()[1]), profile).stdout
        assert refused.startswith("refused: PermissionError")


@pytest.mark.parametrize("attack", ["fork", "start a program", "make memory that can be run", "read a file", "link a file out"])
def test_an_inference_worker_with_an_endpoint_needs_no_engines_rights(attack: str, tmp_path: Path) -> None:
    profile = "inference_profile(load({{'BATOS_HOME': {home!r}, 'BATOS_INFERENCE_ENDPOINT': 'https://gpu.example/v1'}}, Path({home!r})))"
    done = child(tmp_path, ATTACKS[attack], profile)
    assert done.stdout.startswith("refused: "), (done.stdout, done.stderr)


@pytest.mark.parametrize("profile", [TRIAL, IMAGE])
def test_what_was_open_before_goes_on(profile: str, tmp_path: Path) -> None:
    body = "before[0].sendall(b'x')\nreturn before[1].recv(1)"
    assert child(tmp_path, body, profile).stdout == "succeeded: b'x'"


def test_threads_that_were_there_before_are_bound_by_the_filter_and_reported_for_the_files(tmp_path: Path) -> None:
    script = """
import os, socket, threading
from deploy.confinement import *
from deploy.profiles import python_paths
go, out = threading.Event(), []
def late():
    go.wait()
    try:
        socket.socket(socket.AF_INET)
    except PermissionError:
        out.append("refused")
thread = threading.Thread(target=late); thread.start()
layers = {layer.name: layer for layer in confine(Profile(read=python_paths()))}
go.set(); thread.join()
print(out, layers["files"].in_force, layers["files"].reason)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['refused'] False 1 threads were started before, and are not bound\n"


def test_an_endless_loop_ends_by_the_processor_time_it_may_use(tmp_path: Path) -> None:
    done = child(tmp_path, "while True:\n    pass", TRIAL)
    assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL)


def test_a_loop_that_ignores_the_warning_is_killed(tmp_path: Path) -> None:
    done = child(tmp_path, "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass", TRIAL)
    assert done.returncode == -signal.SIGKILL


BOMBS = ["return len('a' * 10**10)", "return len([0] * 10**9)", "x = []\nwhile True:\n    x.append(bytearray(10**6))"]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_memory_bomb_ends_in_an_error_of_its_own(bomb: str, tmp_path: Path) -> None:
    assert child(tmp_path, bomb, TRIAL).stdout.startswith("refused: MemoryError")


def test_a_crash_ends_the_child_and_leaves_no_core(tmp_path: Path) -> None:
    done = child(tmp_path, "import ctypes\nctypes.string_at(0)", TRIAL)
    assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
    assert not list(ROOT.glob("core*"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_trial_child_is_another_user_and_still_dies_with_its_parent(tmp_path: Path) -> None:
    script = """
import os, signal
from deploy.confinement import *
from deploy.profiles import *
from deploy.settings import load
from deploy.process import *
die_with_parent(signal.SIGKILL)
user = Profile(user="nobody", read=python_paths())
confine(user)
print(os.getuid() != 0, parent_death_signal() == signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True True\n"


def test_the_probe_of_this_host_agrees_with_what_confined_processes_get() -> None:
    layers = confinement.available()
    assert confinement.sufficient(layers), layers
    assert {"limits", "files", "system calls"} <= {layer.name for layer in layers if layer.in_force}


def test_a_missing_required_layer_is_not_sufficient_and_a_missing_other_is() -> None:
    here = Layer("files", True, "")
    assert not confinement.sufficient([here, Layer("system calls", False, "no libseccomp")])
    assert confinement.sufficient([here, Layer("user", False, "not root", required=False)])


def test_a_bare_profile_that_allows_something_is_refused() -> None:
    with pytest.raises(ValueError, match="bare"):
        confinement.confine(Profile(bare=True, network="unix"))
