"""Who may connect, and what they may: a real bridge, keys over TCP, other users over a Unix socket."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
import zmq

from deploy import keys
from deploy.keys import ClientKey, PrincipalRecord
from deploy.settings import load
from tests.uvm.bridge.service import ROOT, Service, until
from ui_client.client.client import BridgeUnreachable, Client, ClientError, RemoteError
from uvm import protocol
from uvm.bridge.tools import NEEDS

NOBODY = 65_534


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that listens on TCP too, and on a Unix socket that every user can reach."""
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    with Service(tmp_path_factory.mktemp("home"), {"BATOS_BRIDGE_ENDPOINT": f"tcp://*:{port}"}) as started:
        started.start_uvm("uvm-1")
        yield started


def let_in(service: Service, name: str, *rights: str, **quotas: float) -> str:
    """A principal with a key; the key file."""
    server, _ = keys.server_pair(service.configuration.home, zmq.curve_keypair)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    keys.write(service.configuration.home, name, PrincipalRecord(keys.rights_of(",".join(rights)), public, quotas=quotas))
    file = service.home / f"{name}.key"
    keys.write_private(file, ClientKey(public, secret, server.decode()))
    return str(file)


def client(service: Service, key: str, timeout: float = 10.0) -> Client:
    endpoint = service.configuration.settings.bridge.endpoint.replace("*", "127.0.0.1")
    configuration = load({"BATOS_HOME": str(service.home), "BATOS_BRIDGE_ENDPOINT": endpoint, "BATOS_BRIDGE_KEY": key}, service.home)
    return Client(configuration=configuration, connect_timeout=timeout)


def test_a_key_lets_in_over_tcp_and_events_come_by_an_address_that_can_be_reached(home: Service) -> None:
    with client(home, let_in(home, "alice", "read", "send")) as alice:
        assert alice.send("x", "echo", 1) == ["x", 1, {}]
        with alice.events(("state",)) as events:
            alice.send("x", "publish", 7)
            assert events.next(10.0) is not None


def test_each_right_is_needed_for_what_it_is_for(home: Service) -> None:
    with client(home, let_in(home, "reader", "read")) as reader, client(home, let_in(home, "sender", "send")) as sender:
        assert reader.inspect("thing_3").slots == {"n": 3}
        sender.send("x", "echo")
        refused = [
            lambda: reader.send("x", "echo"),
            lambda: reader.create_method("x", "m", "def m(self): return 1"),
            lambda: sender.inspect("thing_3"),
            lambda: sender.full_state(),
            lambda: sender.events(),
            lambda: sender.create_method("x", "m", "def m(self): return 1"),
        ]
        for ask in refused:
            with pytest.raises(RemoteError, match="has not the right") as raised:
                ask()
            assert raised.value.type == "NotAllowed"
        assert set(sender.status()["principals"]) == {"sender"}, "others are shown to those who administer"
        assert {"local", "reader", "sender"} <= set(home.client().status()["principals"])


def test_every_request_is_listed_with_the_right_that_it_needs():
    assert set(NEEDS) == set(get_args(protocol.Request))
    for document in ("protocol.md", "security.md"):
        text = (ROOT / "docs" / document).read_text()
        rows = re.findall(r"^\| (none|`read`|`send`|`create`) \| ([^|]+) \|", text, re.MULTILINE)
        listed = {name: right.strip("`") for right, requests in rows for name in re.findall(r"`(\w+)`", requests)}
        needed = {kind.__name__: right or "none" for kind, right in NEEDS.items() if right or document == "security.md"}
        assert listed == needed, document


def test_without_a_known_key_nobody_gets_in_over_tcp(home: Service) -> None:
    server, _ = keys.server_pair(home.configuration.home, zmq.curve_keypair)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    stranger = home.home / "stranger.key"
    keys.write_private(stranger, ClientKey(public, secret, server.decode()))
    with client(home, str(stranger), timeout=1.0) as refused, pytest.raises(BridgeUnreachable):
        refused.send("x", "echo")
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.setsockopt(zmq.LINGER, 0)
        plain.connect(home.configuration.settings.bridge.endpoint.replace("*", "127.0.0.1"))
        plain.send(b"\x81\xa2op\xa9GetStatus")
        assert not plain.poll(500)


def test_a_key_that_is_removed_or_limited_has_effect_on_the_connection_that_is_there(home: Service) -> None:
    key = let_in(home, "carol", "read", "send")
    with client(home, key) as carol:
        carol.send("x", "echo")
        public = keys.read_client_key(Path(key)).public
        keys.write(home.configuration.home, "carol", PrincipalRecord(keys.rights_of("read"), public))
        until(lambda: refused(carol), "the right to send is gone")
        keys.write(home.configuration.home, "carol", PrincipalRecord(keys.rights_of("read,send"), public, quotas={"queue_mb": 1}))
        until(lambda: not refused(carol), "the right is back")
        with pytest.raises(RemoteError) as raised:
            carol.send("x", "echo", b"x" * 1_500_000)
        assert raised.value.type == "QuotaExceeded"
        keys.remove(home.configuration.home, "carol")
        until(lambda: refused(carol), "the key is gone")


def test_what_waits_of_a_principal_that_is_removed_is_refused(home: Service) -> None:
    with client(home, let_in(home, "erin", "read", "send")) as erin, ThreadPoolExecutor(1) as pool:
        erin.send("x", "echo")
        waiting = pool.submit(erin.send, "x", "echo", via="uvm-away", deadline=20.0)
        until(lambda: home.client().status()["principals"]["erin"].get("messages") == 1, "it waits")
        keys.remove(home.configuration.home, "erin")
        with pytest.raises(RemoteError, match="no principal of this service any more") as raised:
            waiting.result(20.0)
        assert (raised.value.type, raised.value.details["outcome"]) == ("NotAllowed", "not run")


def test_a_principal_that_listened_and_is_removed_hears_nothing_more(home: Service) -> None:
    with client(home, let_in(home, "dave", "read")) as dave, dave.events(("state",), missed=True) as events:
        keys.remove(home.configuration.home, "dave")
        home.bridge.wait(20)  # supervisord starts it anew
        home.start_bridge()
        until(lambda: len(home.client().status()["uvms"]) == 1, "the UVM is back")
        home.client().send("x", "publish", 9)
        assert events.next(0.5) is None


def refused(tool: Client) -> bool:
    try:
        tool.send("x", "echo", deadline=3.0)
    except RemoteError as error:
        return error.type == "NotAllowed"
    except ClientError:
        return False
    return False


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_is_refused_unless_it_is_a_principal(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Path("/tmp") / f"batos-test-{os.getpid()}.sock"
    endpoint = f"ipc://{place}"
    script = (
        "import os, sys, zmq; os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "with zmq.Context() as context, context.socket(zmq.DEALER) as socket:\n"
        f"    socket.setsockopt(zmq.LINGER, 0); socket.connect({endpoint!r})\n"
        "    socket.send(b'\\x82\\xa2op\\xa9GetStatus\\xa2id\\x05'); print(socket.poll(int(sys.argv[1])))\n"
    )

    def as_nobody(milliseconds: int) -> str:
        done = subprocess.run([sys.executable, "-c", script, str(milliseconds)], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        with Service(tmp_path_factory.mktemp("home"), {"BATOS_BRIDGE_ENDPOINT": endpoint}) as service:
            assert as_nobody(300) == "0"
            keys.write(service.configuration.home, "nobody", PrincipalRecord(keys.rights_of("read"), uid=NOBODY))
            assert as_nobody(10_000) == "1"
    finally:
        place.unlink(missing_ok=True)
