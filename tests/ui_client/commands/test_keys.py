"""`batos keys`: who is let in, with what; no service is needed for it."""

import json
import stat
from pathlib import Path

import pytest

from deploy import keys
from deploy.settings import Home
from tests.ui_client.commands.conftest import Command


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    return str(tmp_path / "alice.key")


def test_a_key_is_made_handed_over_and_kept_by_nobody_else(batos_alone: Command, tmp_path: Path, key_file: str) -> None:
    answered = batos_alone("keys", "add", "alice", "--to", key_file, "--rights", "read", "--quota", "messages=5", "--json").json["result"]
    key = keys.read_client_key(Path(key_file))
    assert (answered["public"], answered["file"], answered["rights"]) == (key.public, key_file, ["read"])
    inside = "".join(path.read_text() for path in keys.directory(Home(tmp_path)).iterdir())
    assert key.public in inside and key.secret not in inside
    assert stat.S_IMODE(Path(key_file).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.directory(Home(tmp_path)).stat().st_mode) == 0o700
    listed = batos_alone("keys", "list", "--json").json["result"]["principals"]
    assert listed["alice"] == {"rights": ["read"], "public": key.public, "uid": None, "quotas": {"messages": 5}}
    assert set(listed) == {"local", "alice"}


def test_changing_rights_keeps_the_key_and_removing_locks_out(batos_alone: Command, key_file: str) -> None:
    first = batos_alone("keys", "add", "alice", "--to", key_file, "--json").json["result"]
    again = batos_alone("keys", "add", "alice", "--rights", "read,policy", "--json").json["result"]
    assert (again["public"], again["rights"]) == (first["public"], ["policy", "read"])
    assert "alice" in batos_alone("keys", "list").out
    assert batos_alone("keys", "remove", "alice", "--json").json == {"result": {"removed": "alice"}}
    assert "alice" not in batos_alone("keys", "list").out


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["add", "../alice"], "no name of a principal"),
        (["add", "_server"], "no name of a principal"),
        (["add", "alice", "--rights", "read,fly"], "allowed are read, send"),
        (["add", "alice", "--quota", "wishes=3"], "wishes"),
        (["add", "alice", "--quota", "messages=0"], "messages"),
        (["add", "alice", "--quota", "messages"], "NAME=NUMBER"),
        (["add", "alice", "--public", "short"], "no public key"),
        (["add", "local", "--user", "7"], "owner of the home"),
        (["remove", "nobody"], "no principal 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(batos_alone: Command, tmp_path: Path, arguments: list[str], fragment: str) -> None:
    answer = batos_alone("keys", *arguments, "--json")
    assert answer.status == 1 and fragment in json.dumps(answer.json["error"], ensure_ascii=False)
    assert not list(tmp_path.glob("keys/*.json"))


def test_a_damaged_file_is_named_and_harms_no_other(batos_alone: Command, tmp_path: Path, key_file: str) -> None:
    batos_alone("keys", "add", "alice", "--to", key_file)
    (keys.directory(Home(tmp_path)) / "bob.json").write_text("{")
    answered = batos_alone("keys", "list", "--json").json["result"]
    assert "alice" in answered["principals"] and "bob.json" in answered["faults"][0]
