"""What a program does with the client library and `batos`, on the real service."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.settings import Configuration
from tests.ui_client.commands.conftest import run_command
from ui_client import Client, RemoteError, Result


def test_a_transaction_has_all_its_effects_or_none_and_may_use_its_own_results(running: Configuration) -> None:
    with Client(configuration=running) as client:
        made, same, value = client.transaction(
            [("genesis_obj", "clone"), (Result(0), "setSlot_value_", "n", 5), (Result(0), "n")],
        )
        assert (made, value) == (same, 5)
        with pytest.raises(RemoteError) as raised:
            client.transaction([(made, "setSlot_value_", "n", 6), (made, "setSlot_value_", "no name", 7)])
        assert raised.value.type == "NotAllowed" and client.read(made, "n") == 5


def test_a_value_of_any_size_is_read_whole_and_by_its_path(running: Configuration) -> None:
    value = {"rows": [[number, "x" * 1000] for number in range(6000)], "7": {"a": None}}
    with Client(configuration=running) as client:
        made = client.send("genesis_obj", "clone")
        for part in range(3):
            client.send(made, "setSlot_value_", f"part_{part}", value["rows"][2000 * part : 2000 * (part + 1)])
        client.send(made, "setSlot_value_", "small", {"7": {"a": None}})
        assert [row for part in range(3) for row in client.read(made, f"part_{part}")] == value["rows"]
        assert client.read(made, "part_2", 1999, 0) == 5999
        assert client.read(made, "small", "7", "a") is None
        with pytest.raises(RemoteError) as raised:
            client.read(made, "small", "nowhere")
        assert raised.value.type == "BadArguments"


def test_the_commands_do_the_same(running: Configuration, tmp_path: Path) -> None:
    def batos(*arguments: str) -> Any:
        answer = run_command(running.home.path, *arguments, "--json")
        assert answer.status == 0, answer.err
        return answer.json["result"]

    file = tmp_path / "sends.json"
    put = [{"result": 0}, "setSlot_value_", "table", {"rows": [[1, 2], [3, 4]]}]
    file.write_text(json.dumps([["genesis_obj", "clone"], put]))
    made, same = batos("transaction", str(file))
    assert made == same
    assert batos("get", made["ref"], "table") == {"rows": [[1, 2], [3, 4]]}
    assert batos("get", made["ref"], "table", "rows", "1", "0") == 3
    file.write_text('{"target": "genesis_obj"}')
    refused = run_command(running.home.path, "transaction", str(file))
    assert refused.status == 2 and refused.out == "" and "lists of target, selector and arguments" in refused.err
