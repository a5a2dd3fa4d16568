"""An object whose slots are called like everything that the kernel has, at the real service: client and commands work on it."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.settings import Configuration
from ui_client import AsyncClient, Client, Reference
from ui_client.cli import app
from uvm.runtime.policy import LASTING
from uvm.runtime.primitives import PRIMITIVES

WORDS = sorted({*PRIMITIVES, *LASTING, "name", "display_yourself"} - {"mirror_"})

Batos = Callable[..., Any]


@pytest.fixture(scope="module")
def client(running: Configuration):
    with Client(configuration=running, connect_timeout=30.0) as one:
        yield one


@pytest.fixture(scope="module")
def strange(client: Client) -> Reference:
    """The object, made and known through its mirror."""
    one = client.send("genesis_obj", "clone")
    for word in WORDS:
        client.send(one, "mirror_", "setSlot_value_", word, [word])
    client.send(one, "mirror_", "nameAs_", "strange")
    return one


@pytest.fixture
def batos(running: Configuration) -> Batos:
    """What a command prints as JSON."""

    def run(*arguments: str, stdin: str = "") -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json"], input=stdin)
        assert done.exit_code == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])["result"]

    return run


def test_a_word_is_seen_at_once_in_every_process_and_so_is_its_end(client: Client, strange: Reference) -> None:
    twin = client.send(strange, "mirror_", "clone", via="uvm-1")
    for number in range(20):
        here, there = ("uvm-1", "uvm-2") if number % 2 else ("uvm-2", "uvm-1")
        client.send(twin, "mirror_", "setSlot_value_", "names", number, via=here)
        assert client.send(twin, "names", via=there) == number
        client.send(twin, "mirror_", "removeSlot_", "names", via=there)
        assert client.send(twin, "names", via=here) == []


def test_the_client_works_on_it(client: Client, strange: Reference) -> None:
    assert {word: client.send(strange, word) for word in WORDS} == {word: [word] for word in WORDS}
    assert client.transaction([(strange, "mirror_", "setSlot_value_", "now", 5), (strange, "now")]) == [strange, 5]
    assert client.read(strange, "clone", 0) == "clone" and set(client.read(strange)) >= set(WORDS)
    seen = client.inspect(strange)
    assert (seen.names, set(WORDS) <= set(seen.slots)) == (["strange"], True) and not set(WORDS) & set(seen.inherited)
    assert any(state.reference == strange for state in client.full_state().objects)
    described = client.create_method(strange, "worth", "def worth(self):\n    return [self.names, self.mirror_('names')]\n")
    assert described["selector"] == "worth" and client.send(strange, "worth") == [["names"], ["strange"]]
    assert client.release([client.send(strange, "mirror_", "clone")]) == 1


def test_the_asynchronous_client_works_on_it(running: Configuration, strange: Reference) -> None:
    async def look() -> list[Any]:
        async with AsyncClient(configuration=running, connect_timeout=30.0) as one:
            return [await one.send(strange, "clone"), await one.send(strange, "mirror_", "names"), (await one.inspect(strange)).names]

    assert asyncio.run(look()) == [["clone"], ["strange"], ["strange"]]


def test_every_command_works_on_it(batos: Batos, strange: Reference) -> None:
    assert batos("send", "strange", "parents") == ["parents"]
    twin = batos("send", "strange", "mirror_", "clone")["ref"]
    assert batos("send", twin, "mirror_", "setSlot_value_", "names", '["Al"]') == {"ref": twin}
    assert batos("get", twin, "names", "0") == "Al"
    assert batos("inspect", twin)["slots"]["names"] == ["Al"] and batos("inspect", "strange")["names"] == ["strange"]
    sends = json.dumps([[twin, "mirror_", "removeSlot_", "names"], [twin, "names"]])
    assert batos("transaction", "-", stdin=sends) == [{"ref": twin}, []]
    assert batos("method", twin, "twice_", "-", stdin="def twice_(self, a):\n    return [a, self.clone]\n")["selector"] == "twice_"
    assert batos("source", twin, "twice_")["source"].startswith("def twice_") and batos("send", twin, "twice_", "1") == [1, ["clone"]]
    assert ["strange"] in [one["names"] for one in batos("objects")]
    assert batos("history", "strange", "clone")["entries"][-1]["changes"][0]["slot"] == "clone"
    tids = [entry["tid"] for entry in batos("history", twin)["entries"]]
    assert {change["slot"] for change in batos("diff", twin, tids[-1], tids[0])} == {"names", "twice_"}


@pytest.mark.usefixtures("running", "strange")
def test_what_people_read_of_it_is_its_own_words() -> None:
    shown = CliRunner().invoke(app, ["inspect", "strange"]).stdout
    assert re.search(r"clone: +\['clone'\]", shown) and re.search(r"setSlot_value_: +\['setSlot_value_'\]", shown)
    refused = CliRunner().invoke(app, ["send", "strange", "names", "x"])
    assert refused.exit_code == 1 and "mirror_('names', …)" in refused.stderr
