"""What a principal with the rights to read and send can do to the real service, and what it cannot, whoever's methods it calls."""

from collections.abc import Iterator

import msgspec
import pytest
import zmq
from msgspec.structs import replace

from deploy import keys
from deploy.keys import ClientKey, PrincipalRecord
from deploy.settings import Configuration, load
from ui_client import Client, Example, Reference, RemoteError

SESSION = "what-nobody-else-reads"
REWRITE = "def rewrite_(self, other):\n    other.setSlot_value_('covenant', 'anything goes')\n    return 1\n"


@pytest.fixture(scope="module")
def owner(running: Configuration) -> Iterator[Client]:
    with Client(configuration=running, session=SESSION, connect_timeout=30.0) as client:
        yield client


@pytest.fixture(scope="module")
def alice(running: Configuration) -> Iterator[Client]:
    """Lets alice in with a key, over TCP, to read and to send."""
    server, _ = keys.server_pair(running.home, zmq.curve_keypair)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    keys.write(running.home, "alice", PrincipalRecord(keys.rights_of("read,send"), public))
    file = running.home.path / "alice.key"
    keys.write_private(file, ClientKey(public, secret, server.decode()))
    endpoint = running.settings.bridge.endpoint
    configuration = load(
        {"BATOS_HOME": str(running.home.path), "BATOS_BRIDGE_ENDPOINT": endpoint, "BATOS_BRIDGE_KEY": str(file)}, running.home.path
    )
    with Client(configuration=configuration, session=SESSION, connect_timeout=30.0) as client:
        yield client


@pytest.fixture
def bounded(running: Configuration) -> Iterator[None]:
    """Lets alice hold 20,000 bytes of the image."""
    file = keys.directory(running.home) / "alice.json"
    before = msgspec.json.decode(file.read_bytes(), type=PrincipalRecord)
    keys.write(running.home, "alice", replace(before, quotas={"stored_mb": 0.02}))
    yield
    keys.write(running.home, "alice", before)


def refused(alice: Client, target: str | Reference, selector: str, *args: object) -> str:
    with pytest.raises(RemoteError) as raised:
        alice.send(target, selector, *args)
    return raised.value.type


def test_it_makes_objects_of_its_own_and_offers_no_methods(alice: Client) -> None:
    own = alice.send("genesis_obj", "clone")
    alice.send(own, "setSlot_value_", "n", 5)
    assert alice.read(own, "n") == 5
    with pytest.raises(RemoteError) as raised:
        alice.create_method(own, "m", "def m(self):\n    return 1\n")
    assert raised.value.type == "NotAllowed" and raised.value.details["right"] == "create"


def test_neither_directly_nor_by_a_method_of_the_owners_does_it_change_what_policy_changes(owner: Client, alice: Client) -> None:
    covenant, model = owner.read("pLLM_obj", "covenant"), owner.inspect("pLLM_obj").reference
    assert refused(alice, "pLLM_obj", "setSlot_value_", "covenant", "anything goes") == "NotAllowed"
    holder, plain = owner.send("genesis_obj", "clone"), alice.send("genesis_obj", "clone")
    owner.create_method(holder, "rewrite_", REWRITE, examples=[Example(1, [plain])])
    assert alice.send(holder, "rewrite_", plain) == 1
    assert refused(alice, holder, "rewrite_", model) == "NotAllowed", "the method has not got policy, whoever sends it"
    owner.create_method(holder, "rewrite_", REWRITE, examples=[Example(1, [plain])], policy=True)
    assert refused(alice, holder, "rewrite_", model) == "NotAllowed", "the method has policy, and its sender has not"
    assert owner.read("pLLM_obj", "covenant") == covenant


def test_it_reads_no_receipts_and_no_answers_of_another_principals_session(owner: Client, alice: Client) -> None:
    thing = owner.send("genesis_obj", "clone")
    owner.send(thing, "setSlot_value_", "secret", "behind seven hills")
    seen = []
    for number in range(1, 600):
        try:
            seen.append(repr(alice.inspect(Reference(number.to_bytes(8)))))
        except RemoteError as error:
            assert error.type in ("NoSuchObject", "DamagedRecord")
    assert seen and not any(SESSION in one for one in seen)
    again = owner.send("genesis_obj", "clone")
    assert alice.send("genesis_obj", "clone") != again, "the same session and numbers are another principal's own"


def test_it_holds_no_more_of_the_image_than_its_quota_and_sees_how_much_that_is(owner: Client, alice: Client, bounded: None) -> None:
    own = alice.send("genesis_obj", "clone")
    with pytest.raises(RemoteError, match="20,000 are allowed") as raised:  # from the moment that the bridge has read the quota
        for number in range(1000):
            alice.send(own, "setSlot_value_", f"text{number % 100}", "x" * (1000 + number))
    assert (raised.value.type, raised.value.details["quota"]) == ("QuotaExceeded", "stored_mb")
    status = alice.status()["principals"]["alice"]
    assert status["quota"]["stored_mb"] == 0.02
    assert 18_000 < status["used"]["stored_bytes"] == raised.value.details["used"] <= 20_000
    alice.send(own, "removeSlot_", "text1")
    assert alice.status()["principals"]["alice"]["used"]["stored_bytes"] < status["used"]["stored_bytes"]
    owner.send(own, "setSlot_value_", "text1", "x" * 30_000)
