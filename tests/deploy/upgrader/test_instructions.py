"""The wish for an upgrade, as it is written, and as anybody might write it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deploy.home import Home
from deploy.upgrader import instructions
from deploy.upgrader.instructions import BadInstructions, PinnedDistribution

GOOD = {"name": "small", "version": "2.0", "hashes": ["sha256:" + "a" * 64]}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.ensure()
    return home


def wish(home: Home, **fields: Any) -> instructions.UpdateInstructions:
    return instructions.wish(home, "tester", requirements=[PinnedDistribution(**GOOD)], **fields)


def signed(home: Home, **changed: Any) -> bytes:
    """A wish that was signed, and changed afterwards."""
    content = json.loads(instructions.put(home, wish(home)).read_bytes())
    return json.dumps({**content, **changed}).encode()


def test_a_wish_is_read_as_it_was_written(home: Home) -> None:
    written = wish(home, reason="it is newer", must_hold=[instructions.ExpectedReply("genesis_obj", "clones", 3)])
    content = instructions.read(instructions.put(home, written))
    assert instructions.verified(home, content) == written
    assert instructions.pinned_text(written.requirements) == f"small==2.0 --hash={GOOD['hashes'][0]}\n"


def test_one_wish_waits_at_a_time_and_the_file_is_never_there_in_part(home: Home) -> None:
    first = instructions.put(home, wish(home)).read_bytes()
    with pytest.raises(BadInstructions, match="another wish waits"):
        instructions.put(home, wish(home))
    assert (home.upgrades / instructions.FILE).read_bytes() == first
    assert sorted(path.name for path in home.upgrades.iterdir()) == ["image.key", instructions.FILE]


@pytest.mark.parametrize(
    "requirement",
    [
        {**GOOD, "name": "--index-url=https://evil.example"},
        {**GOOD, "name": "small @ https://evil.example/small.whl"},
        {**GOOD, "name": "../small"},
        {**GOOD, "name": "small; rm -rf /"},
        {**GOOD, "name": "small\n--pre"},
        {**GOOD, "version": ">=2"},
        {**GOOD, "version": "2.0 --pre"},
        {**GOOD, "version": "2.0\n"},
        {**GOOD, "version": ""},
        {**GOOD, "hashes": []},
        {**GOOD, "hashes": ["md5:" + "a" * 32]},
        {**GOOD, "hashes": ["sha256:" + "a" * 64 + "\n"]},
        {**GOOD, "index": "https://evil.example"},
        {"name": "small", "version": "2.0"},
    ],
)
def test_what_is_no_pinned_distribution_is_refused(home: Home, requirement: dict[str, Any]) -> None:
    with pytest.raises(BadInstructions, match="refused"):
        instructions.verified(home, signed(home, requirements=[requirement]))


@pytest.mark.parametrize(
    "changed",
    [
        {"command": "pip install small"},
        {"id": "0123456789ABCDEF"},
        {"format": 2},
        {"back_to": -1},
        {"requirements": [], "back_to": None},
        {"back_to": 1},
        {"requirements": [GOOD, {**GOOD, "name": "Small"}]},
        {"must_hold": [{"target": "a b", "selector": "x", "result": 1}]},
        {"within_s": 10**6},
        {"reason": "x" * 501},
    ],
)
def test_what_is_no_wish_is_refused(home: Home, changed: dict[str, Any]) -> None:
    with pytest.raises(BadInstructions):
        instructions.verified(home, signed(home, **changed))


@pytest.mark.parametrize(
    "changed", [{"reason": "another"}, {"signature": "0" * 64}, {"signature": ""}, {"requirements": [{**GOOD, "version": "2.1"}]}]
)
def test_what_was_changed_after_it_was_signed_is_refused(home: Home, changed: dict[str, Any]) -> None:
    with pytest.raises(BadInstructions, match="signature"):
        instructions.verified(home, signed(home, **changed))


def test_the_key_of_another_home_signs_nothing_here(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.ensure()
    instructions.wish(home, "tester", back_to=0)
    content = instructions.read(instructions.put(other, wish(other)))
    with pytest.raises(BadInstructions, match="signature"):
        instructions.verified(home, content)


def test_a_key_that_others_can_read_is_no_key(home: Home) -> None:
    content = signed(home)
    (home.upgrades / "image.key").chmod(0o644)
    with pytest.raises(BadInstructions, match="open to others"):
        instructions.verified(home, content)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 10_000, b"\xff\xfe", b'{"a":1}'])
def test_what_is_no_json_object_is_refused(home: Home, content: bytes) -> None:
    with pytest.raises(BadInstructions):
        instructions.verified(home, content)


def test_what_is_no_file_of_a_bearable_size_is_not_read(home: Home) -> None:
    path = home.upgrades / instructions.FILE
    path.write_bytes(b" " * (instructions.LARGEST + 1))
    with pytest.raises(BadInstructions, match="longer"):
        instructions.read(path)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(BadInstructions, match="opened"):
        instructions.read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadInstructions, match="regular"):
        instructions.read(path)
