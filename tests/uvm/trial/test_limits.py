"""What ends a trial, and what a trial leaves behind: nothing."""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from deploy.confinement import Layer, available, sufficient
from deploy.settings import TrialSettings
from tests.uvm.trial.conftest import World, finish
from uvm.image.image import KERNEL_ROOTS
from uvm.protocol import Example
from uvm.trial.client import MOST, TrialServer, TrialUnavailable, loader
from uvm.trial.protocol import LONGEST_HEARD, Ask, Confined, Frames, Record, TrialOutcome, TrialRequest, framed, said_to_child
from uvm.trial.trial import Trial

TOTAL = "def total(self):\n    return self.price * self.quantity\n"
LOOP = "def loop(self):\n    while True:\n        pass\n"
AGES = 1_000_000_000


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it comes true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True


def waiting(server: TrialServer, world: World, request: TrialRequest | None = None) -> tuple[Trial, psutil.Process]:
    """A trial whose child has asked for a record that nobody serves, and the child."""
    trial = server.begin(request or world.request(TOTAL), loader(world.storage))
    process = psutil.Process(server.pid)
    assert eventually(lambda: bool(select.select([trial], [], [], 0)[0]) and bool(process.children()))
    return trial, process.children()[0]


def test_an_endless_loop_ends_by_ticks(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request(LOOP))
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error.type == "TicksSpent"
    assert outcome.ticks_used >= 100_000


def test_an_endless_loop_ends_by_the_drafts_own_time(world: World, server: TrialServer) -> None:
    outcome = world.run(server, world.request(LOOP, ticks=AGES, seconds=0.2))
    assert outcome.error is not None
    assert outcome.error.type == "DeadlineExceeded"


def test_an_endless_loop_ends_by_wall_time(world: World, servers: Callable[..., TrialServer]) -> None:
    outcome = world.run(servers(wall_s=0.3, cpu_s=60), world.request(LOOP, ticks=AGES, seconds=1000.0))
    assert (outcome.kind, outcome.killed_by) == ("killed", "trial.wall_s, 0.3")


def test_an_endless_loop_ends_by_processor_time(world: World, servers: Callable[..., TrialServer]) -> None:
    outcome = world.run(servers(wall_s=30.0, cpu_s=1), world.request(LOOP, ticks=AGES, seconds=1000.0))
    assert (outcome.kind, outcome.killed_by) == ("killed", "trial.cpu_s: its processor time is over")


def test_a_memory_bomb_ends_alone(world: World, servers: Callable[..., TrialServer]) -> None:
    server = servers(memory_mb=64, wall_s=20.0, cpu_s=20)
    source = "def bomb(self):\n    kept = []\n    while True:\n        kept.append([0] * 1000)\n"
    outcome = world.run(server, world.request(source, ticks=AGES, seconds=20.0))
    assert outcome.kind in ("failed", "killed")
    assert "Memory" in str(outcome.error) or "memory" in outcome.killed_by, outcome
    assert world.run(server, world.request(TOTAL)).result == 7.0


def test_the_budget_of_records_ends_a_trial(world: World, servers: Callable[..., TrialServer]) -> None:
    outcome = world.run(servers(records=1), world.request(TOTAL))
    assert (outcome.kind, outcome.killed_by) == ("killed", "trial.records, 1")
    assert len(outcome.read) == 1


def test_the_budget_of_bytes_ends_a_trial(world: World, servers: Callable[..., TrialServer]) -> None:
    world.shop.put("text", "x" * 1_500_000)
    world.image.manager.commit()
    world.image.manager.begin()
    outcome = world.run(servers(read_mb=1), world.request(TOTAL))
    assert (outcome.kind, outcome.killed_by) == ("killed", "trial.read_mb, 1")


def test_a_result_that_is_too_long_is_a_failure(world: World, server: TrialServer) -> None:
    world.shop.put("text", "x" * 3_000_000)
    world.image.manager.commit()
    world.image.manager.begin()
    outcome = world.run(server, world.request("def double(self):\n    return [self.text, self.text]\n", ticks=AGES))
    assert outcome.error is not None
    assert outcome.error.type == "TooLarge"


def test_records_larger_than_a_socket_holds_arrive_whole(world: World, server: TrialServer) -> None:
    world.shop.put("text", "x" * 3_000_000)
    world.image.manager.commit()
    world.image.manager.begin()
    request = world.request("def size(self):\n    return len(self.text)\n", ticks=AGES, thoughts={"long": "y" * 3_000_000})
    assert world.run(server, request).result == 3_000_000


def test_a_child_is_confined_and_holds_one_socket(world: World, server: TrialServer) -> None:
    trial, child = waiting(server, world)
    entries = {entry.name: str(entry.readlink()) for entry in Path(f"/proc/{child.pid}/fd").iterdir()}
    assert [entries.pop(number) for number in ("0", "1", "2")] == ["/dev/null"] * 3
    assert [target.partition(":")[0] for target in entries.values()] == ["socket"]
    status = dict(line.split(":", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
    outcome = finish(trial)
    assert outcome.result == 7.0
    expected = available()
    assert [(layer.name, layer.in_force) for layer in outcome.layers] == [(layer.name, layer.in_force) for layer in expected]
    assert outcome.fully_confined == sufficient(expected)
    if next(layer for layer in outcome.layers if layer.name == "system calls").in_force:
        assert status["Seccomp"].strip() == "2"
    if os.getuid() == 0 and next(layer for layer in outcome.layers if layer.name == "user").in_force:
        assert set(status["Uid"].split()) != {"0"}


def test_time_in_which_the_uvm_does_not_look_is_not_the_childs(world: World, servers: Callable[..., TrialServer]) -> None:
    server = servers(wall_s=0.5)
    trial, _ = waiting(server, world, world.request(TOTAL, seconds=0.2))
    trial.on_readable()
    assert eventually(lambda: bool(select.select([trial], [], [], 0)[0]))
    select.select([], [], [], 0.8)  # the UVM is busy with a message
    assert finish(trial).result == 7.0


def test_a_cancelled_trial_leaves_no_child(world: World, servers: Callable[..., TrialServer]) -> None:
    server = servers()
    trial, child = waiting(server, world)
    assert trial.cancel().killed_by == "cancelled"
    assert trial.fileno() == -1
    assert eventually(lambda: not child.is_running())
    assert server.alive()


def test_twenty_trials_leave_no_descriptors_and_no_children(world: World, servers: Callable[..., TrialServer]) -> None:
    server = servers(wall_s=0.2)
    process = psutil.Process(server.pid)
    requests = [world.request(TOTAL), world.request(LOOP, ticks=AGES, seconds=100.0), world.request("def f(self):\n    return 1 / 0\n")]
    world.run(server, requests[0])
    assert eventually(lambda: not process.children())
    gc.collect()
    before = psutil.Process().num_fds(), process.num_fds()
    kinds = [world.run(server, requests[number % 3]).kind for number in range(20)]
    assert eventually(lambda: not process.children())
    gc.collect()
    assert (psutil.Process().num_fds(), process.num_fds()) == before
    assert kinds.count("ok") == 7
    assert server.statistics() == {"begun": 21, "running": 0, "alive": 1}


def test_several_trials_run_side_by_side_up_to_a_bound(world: World, servers: Callable[..., TrialServer]) -> None:
    server = servers()
    trials = [server.begin(world.request(TOTAL, examples=[Example(7, [])]), loader(world.storage)) for _ in range(MOST)]
    with pytest.raises(TrialUnavailable, match=f"{MOST} trials"):
        server.begin(world.request(TOTAL), loader(world.storage))
    assert [finish(trial).result for trial in trials] == [7.0] * MOST


def test_the_death_of_the_server_ends_every_trial_and_is_told(world: World, servers: Callable[..., TrialServer]) -> None:
    server = servers()
    trial, child = waiting(server, world)
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not server.alive())
    outcome = trial.expired(time.monotonic()) or finish(trial)
    assert (outcome.kind, outcome.killed_by) == ("killed", "the trial server ended")
    assert eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(TrialUnavailable, match="started anew"):
        server.begin(world.request(TOTAL), loader(world.storage))


def test_the_server_ends_with_its_uvm() -> None:
    script = (
        "import sys; from uvm.trial.client import TrialServer; from deploy.settings import TrialSettings;"
        "print(TrialServer.start(TrialSettings()).pid, flush=True); sys.stdin.read(); import os; os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as uvm:
        assert uvm.stdin is not None and uvm.stdout is not None
        pid = int(uvm.stdout.readline())
        uvm.stdin.close()
        uvm.wait(20)
    assert eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_confined_uvm_can_hold_trials(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.uvm.trial.confined_uvm", str(tmp_path)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    status = msgspec.json.decode(done.stdout)
    assert status["results"] == [3.5, 3.5]
    assert status["alive"]
    assert set(status["layers"]) >= {layer.name for layer in available() if layer.required and layer.in_force}


def test_an_error_of_the_database_cancels_the_trial(world: World, server: TrialServer) -> None:
    def lost(_oid: bytes, _tid: bytes) -> None:
        raise ConnectionError("no database")

    trial = server.begin(world.request(TOTAL), lost)
    with pytest.raises(ConnectionError):
        finish(trial)
    assert trial.outcome is not None
    assert trial.outcome.killed_by == "cancelled"


# --- a child that does not keep to the protocol --------------------------------------------------------------------------

CONFINED = Confined([Layer("files", True, "")])


class Impostor:
    """A trial whose child is the test."""

    def __init__(self, world: World, **settings: int) -> None:
        mine, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        self.process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        self.server = TrialServer(self.process, mine, TrialSettings(**settings))
        self.trial = self.server.begin(world.request(TOTAL), loader(world.storage))
        _, (descriptor,), _, _ = socket.recv_fds(self.control, 4096, 1)
        self.child = socket.socket(fileno=descriptor)

    def close(self) -> None:
        self.child.close()
        self.control.close()
        self.process.communicate()
        self.server.stop()


@pytest.fixture
def impostor(world: World) -> Iterator[Impostor]:
    impostor = Impostor(world)
    yield impostor
    impostor.close()


@pytest.mark.parametrize(
    "words",
    [
        b"\0\0\0\x05hello",
        b"\xff\xff\xff\xff",
        framed(Ask(b"\0" * 8)),
        framed(TrialOutcome(kind="ok", result=1)),
        framed(CONFINED) * 2,
        framed(CONFINED) + framed(TrialOutcome(kind="killed", killed_by="nobody")),
        framed(CONFINED) + framed(Ask(b"\0" * 8)) * 2,
        framed(CONFINED) + b"\0\0\0\x08" + msgspec.msgpack.encode({"op": "Ask"}),
        framed(CONFINED) + framed(TrialOutcome(kind="ok", result=1)).replace(b"\xa7effects\x90", b"\xa7effects\x91"),
        framed(CONFINED) + framed(TrialOutcome(kind="ok", result=msgspec.msgpack.Ext(7, b"x"))),
    ],
)
def test_what_breaks_the_protocol_ends_the_trial(impostor: Impostor, words: bytes) -> None:
    impostor.child.sendall(words)
    outcome = finish(impostor.trial)
    assert outcome.kind == "killed"
    assert outcome.killed_by.startswith("a violation of the protocol"), outcome.killed_by


def test_a_child_cannot_say_what_it_read_nor_what_confines_it(impostor: Impostor) -> None:
    forged = TrialOutcome(kind="ok", read={b"1" * 8: b"2" * 8}, layers=[], fully_confined=False, killed_by="nobody")
    for part in (framed(CONFINED), framed(forged)):
        for byte in part:
            impostor.child.sendall(bytes([byte]))  # a frame may come in any number of parts
            impostor.trial.on_readable()
    outcome = finish(impostor.trial)
    assert (outcome.kind, outcome.read, outcome.killed_by, outcome.fully_confined) == ("ok", {}, "", True)


def test_an_end_without_a_word_is_told(impostor: Impostor) -> None:
    impostor.child.sendall(framed(CONFINED))
    impostor.child.close()
    assert finish(impostor.trial).killed_by == "the trial ended without a word"


def test_a_child_is_given_no_book_of_the_kernel(world: World, impostor: Impostor) -> None:
    root = world.image.root
    books = [target for name in KERNEL_ROOTS for target in (root[name], root[name].own("0"))]
    targets = [*books, root["codex"], world.shop, world.image.named("traits_obj").own("clone"), root["names"]]
    impostor.child.sendall(framed(CONFINED))
    frames, heard = Frames(LONGEST_HEARD), list[Record]()
    for number, target in enumerate(targets, 1):
        impostor.child.sendall(framed(Ask(target._p_oid)))
        assert eventually(lambda: bool(select.select([impostor.trial], [], [], 0)[0]))
        impostor.trial.on_readable()
        while len(heard) < number:
            messages = [said_to_child(frame) for frame in frames.feed(impostor.child.recv(1 << 20))]
            heard += [record for record in messages if isinstance(record, Record)]
    impostor.trial.cancel()
    served = [record.data is not None for record in heard]
    assert served == [False] * len(books) + [True] * 4
