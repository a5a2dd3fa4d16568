"""`batos send` and its kin as processes, over a real bridge: exact JSON, exit status, what people read."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.ui_client.commands.conftest import Command, ScriptedService
from tests.ui_client.commands.scripted_uvm import SOURCE
from tests.uvm.bridge.service import ROOT


def test_arguments_are_json_else_text_and_references_both_ways(batos_process: Command) -> None:
    answer = batos_process(
        "send", "cart", "echo", "3", "-5", "red wine", '{"a": [1]}', "@2a", '{"ref": "@2b"}', '"@2a"', "--kw", "colour=true", "--json"
    )
    assert answer.status == 0
    expected = ["cart", 3, -5, "red wine", {"a": [1]}, {"ref": "@2a"}, {"ref": "@2b"}, "@2a", {"colour": True}]
    assert answer.json == {"result": expected}


def test_a_target_is_a_name_or_a_reference(batos: Command) -> None:
    assert batos("send", "@2a", "echo", "--json").json == {"result": [{"ref": "@2a"}, {}]}
    wrong = batos("send", "@zz", "echo", "--json")
    assert wrong.status == 2 and "@zz" in wrong.err


def test_references_bytes_and_odd_numbers_have_exact_shapes(batos: Command) -> None:
    assert batos("send", "cart", "raw", "--json").json == {
        "result": {"ref": {"ref": "@2b"}, "bytes": {"bytes": "AAE="}, "nan": {"number": "nan"}, "text": "\x1b[2J"}
    }


def test_a_reply_for_people_cannot_steer_their_terminal(batos: Command) -> None:
    answer = batos("send", "cart", "raw")
    assert answer.status == 0 and "\x1b" not in answer.out and "\\x1b[2J" in answer.out


def test_an_error_is_json_with_status_1(batos: Command) -> None:
    answer = batos("send", "cart", "fly", "--json")
    assert answer.status == 1
    assert answer.json == {
        "error": {"type": "BadArguments", "message": "the fake does not know fly", "remedy": "try echo", "details": {"seen": "fly"}}
    }


def test_an_error_for_people_is_one_line_with_its_remedy(batos_process: Command) -> None:
    answer = batos_process("send", "cart", "fly")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines() == ["BadArguments: the fake does not know fly — try echo"]


def test_a_missing_method_is_told_step_by_step_and_its_source_shown(batos: Command) -> None:
    first = batos("send", "genesis_obj", "display_yourself")
    assert first.status == 0
    stages = [line.split()[1] for line in first.err.splitlines() if line.strip().startswith("✓")]
    assert stages == ["reified", "reflected", "drafted", "audited", "tried", "installed"]
    assert "drafts 4, persona brick" in first.err
    assert "return column(label(self.name), field('born', self.born))" in first.err
    assert "genesis_obj" in first.out and "born: 2026-11-23T03:00:00Z" in first.out
    again = batos("send", "genesis_obj", "display_yourself", "--json")
    assert again.err == ""
    assert again.json["result"]["morph"] == "column"
    assert again.json["result"]["children"][1]["target"] == {"ref": "@2a"}


def test_a_refusal_is_told_and_answered_with_its_reasons(batos: Command) -> None:
    answer = batos("send", "genesis_obj", "stubborn", "--json")
    assert answer.status == 1
    assert [line.split()[1] for line in answer.err.splitlines()][-1] == "refused"
    assert answer.json["error"]["details"] == {"reasons": ["draft 1: no such slot"]}


def test_a_deadline_ends_the_wait(batos: Command) -> None:
    answer = batos("send", "cart", "park", "--deadline", "0.3", "--json")
    assert answer.status == 1 and answer.json["error"]["type"] == "DeadlineExceeded"


def test_a_uvm_can_be_named(batos: Command) -> None:
    assert batos("send", "cart", "whoami", "--via", "uvm-1", "--json").json == {"result": "uvm-1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "No such command"),
        (["send", "cart"], "Missing argument"),
        (["send", "cart", "echo", "--jsn"], "there is no option --jsn"),
        (["send", "cart", "echo", "--kw", "colour"], "NAME=JSON"),
        (["send", "cart", "echo", "--example", '{"args": [1]}'], "an example is JSON"),
        (["send", "cart", "echo", "--example", "7 7"], "an example is JSON"),
        (["send", "cart", "echo", "--example", '{"result": 1, "raises": "E"}'], "an example that raises has no result"),
        (["send", "cart", "echo", "--example", '{"result": 1, "before": {}}'], "unknown field `before`"),
        (["send", "cart", "echo", "@nothex"], "not a reference"),
        (["watch", "--topic", "weather"], "allowed: state, progress"),
    ],
)
def test_wrong_usage_is_said_with_status_2_and_no_traceback(batos: Command, arguments: list[str], words: str) -> None:
    answer = batos(*arguments)
    assert answer.status == 2
    assert words in " ".join(answer.err.split()) and "Traceback" not in answer.err


def test_an_example_reaches_the_image(batos: Command) -> None:
    assert batos("send", "cart", "echo", "--example", '{"result": 7, "args": [3, 4]}', "--json").status == 0


def test_a_choice_of_the_last_refusal_is_sent_as_its_example_and_taken_at_any_risk(batos: Command) -> None:
    assert batos("send", "cart", "unsure", "--example", "2", "--json").json == {"result": [12.5, {"owner": {"ref": "@2b"}}, 1.0]}
    assert batos("send", "cart", "unsure", "--example", "1", "--risk", "0.2", "--json").json["result"][2] == 0.2


def test_a_choice_that_was_not_offered_is_said_so(batos: Command) -> None:
    for selector, number, words in (("unsure", "3", "there are 2"), ("unsure", "0", "there are 2"), ("total", "1", "there is none")):
        answer = batos("send", "cart", selector, "--example", number)
        assert answer.status == 2 and words in " ".join(answer.err.split())


@pytest.mark.parametrize("risk", ["0", "1.5", "-1", "nan", "much"])
def test_a_risk_is_above_0_and_at_most_1(batos: Command, risk: str) -> None:
    answer = batos("send", "cart", "echo", "--risk", risk)
    assert answer.status == 2 and "--risk" in answer.err


def test_how_sure_the_image_is_of_a_new_method_is_printed_and_in_its_source(batos: Command) -> None:
    outcome = batos("send", "genesis_obj", "display_yourself")
    assert outcome.status == 0 and "probability of 93%" in batos("why", "genesis_obj", "display_yourself").out
    assert "confidence" in batos("source", "genesis_obj", "display_yourself").out


def test_why_tells_in_a_page_how_a_refusal_came_about_and_how_to_settle_it(batos: Command) -> None:
    page = " ".join(batos("why", "cart", "unsure").out.split())
    assert "refused: unsure was not installed" in page and "def unsure(self):" in page
    assert "6 drafts by babs, brick" in page and "5 × 10.0 return 10.0" in page and "1 × NotUnderstood: no x" in page
    assert "right with a probability of 40%; a risk of 5% asks for 90%" in page and "asks for a change, and it changes nothing" in page
    assert "--example 2" in page and "batos send cart unsure … --example 1" in page
    assert batos("why", "cart", "unsure", "--json").json["result"]["message"]["stage"] == "refused"


def test_the_examples_that_a_method_keeps_are_listed_added_and_removed(batos: Command) -> None:
    added = batos("examples", "cart", "total", "--add", '{"slots": {"price": 2}, "result": 6, "changed": {}}')
    assert added.out.strip() == "1  with price=2: total() -> 6, then nothing changed"
    kept_examples = batos("examples", "cart", "total", "--remove", "3", "--remove", "4", "--json").json["result"]
    assert kept_examples["removed"] == [3, 4] and kept_examples["examples"] == []
    assert "--add '{" in batos("examples", "cart", "total").err
    assert "--add" in batos("examples", "cart", "total", "--add", "7").err


def test_a_preview_shows_what_would_change_and_how_it_is_accepted(batos: Command) -> None:
    shown = batos("send", "cart", "raise_", "1", "--preview")
    lines = shown.out.splitlines()
    assert lines[0] == "answer: new object 1"
    assert lines[1].endswith(".price: 3 → 4")
    assert lines[2].startswith("new object 1, of [") and lines[2].endswith("price: 1")
    assert "nothing was changed" in shown.err and f"--accept {'ab' * 16}" in " ".join(shown.err.split()) and "def raise_" in shown.err
    assert batos("send", "cart", "raise_", "1", "--preview", "--json").json["result"]["accept"] == "ab" * 16
    assert batos("send", "cart", "raise_", "1", "--accept", "ab" * 16, "--json").json["result"] == ["accepted", "ab" * 16]
    assert f"batos send cart raise_ 1 --accept {'ab' * 16}" in " ".join(shown.err.split())
    assert "leave out" in batos("send", "cart", "raise_", "--preview", "--accept", "ab" * 16).err
    refused = batos("send", "cart", "raise_", "1", "--accept", "abab")
    assert refused.status == 2 and "32 hexadecimal digits" in " ".join(refused.err.split())


def test_a_preview_of_several_messages_shows_each_answer_and_what_all_change(batos: Command, tmp_path: Path) -> None:
    sends = tmp_path / "sends.json"
    sends.write_text('[["cart", "clone"], [{"result": 0}, "setSlot_value_", "price", 4]]')
    shown = batos("transaction", str(sends), "--preview")
    lines = shown.out.splitlines()
    assert lines[:2] == ["0 clone: new object 1", "1 setSlot_value_: new object 1"]
    assert lines[2].endswith(".price: 3 → 4") and "nothing was changed" in shown.err and "--accept" not in shown.err
    assert len(batos("transaction", str(sends), "--preview", "--json").json["result"]["results"]) == 2


def test_inspect_shows_slots_parents_and_methods(batos: Command) -> None:
    state = batos("inspect", "@2b", "--json").json["result"]
    assert state["reference"] == {"ref": "@2b"} and state["slots"] == {"price": 3} and state["parents"] == [{"ref": "@2a"}]
    shown = batos("inspect", "@2b").out
    assert "price:" in shown and "genesis_obj @2a" in shown


def test_objects_lists_names_and_slot_counts(batos: Command) -> None:
    listed = batos("objects", "--json").json["result"]
    assert [(entry["names"], entry["slots"]) for entry in listed] == [(["genesis_obj"], 3)]
    assert [entry["reference"] for entry in batos("objects", "--all", "--json").json["result"]] == [{"ref": "@2a"}, {"ref": "@2b"}]
    assert "genesis_obj" in batos("objects").out


def test_source_shows_the_method_with_its_proof(batos: Command) -> None:
    facts = batos("source", "genesis_obj", "display_yourself", "--json").json["result"]
    assert facts["source"] == SOURCE and facts["proof"]["drafts"][0]["logprob"] == -0.25
    shown = batos("source", "genesis_obj", "display_yourself").out
    for fragment in ("return column(", "brick", "Write the body", "draft 1", "chosen", "passed", "grammar"):
        assert fragment in shown


def test_a_method_is_offered_from_a_file_or_stdin(batos: Command, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("source") / "f.py"
    file.write_text(SOURCE)
    assert batos("method", "cart", "f", str(file), "--json").json == {"result": SOURCE}
    assert batos("method", "cart", "f", "-", "--json", stdin=SOURCE).json == {"result": SOURCE}
    missing = batos("method", "cart", "f", str(file) + ".no", "--json")
    assert missing.status == 1 and missing.json["error"]["type"] == "FileNotFoundError"


def test_status_of_a_bridge_without_supervisord_says_so(batos: Command) -> None:
    answer = batos("status", "--json")
    assert answer.status == 1 and answer.json["error"]["type"] == "NotRunning"
    assert answer.json["error"]["details"]["endpoints"]["bridge"].startswith("ipc://")


def test_without_a_service_every_command_says_how_to_start_it(batos_alone: Command) -> None:
    for arguments in (["send", "cart", "echo"], ["objects"], ["inspect", "cart"], ["watch"]):
        answer = batos_alone(*arguments)
        assert answer.status == 1 and "batos up" in answer.err and len(answer.err.splitlines()) == 1
    assert json.loads(batos_alone("send", "a", "b", "--json").out)["error"]["type"] == "BridgeUnreachable"


def _hears_interrupts() -> None:
    """A suite that runs in a shell's background was told to ignore Ctrl-C, and so would its children be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_command_that_is_interrupted_ends_with_130(service: ScriptedService) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "ui_client.cli", "watch", "--json"],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(service.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_interrupts,
    )
    try:
        # Published again and again, until the watcher, which starts at its own pace, has heard one.
        heard = threading.Event()
        publishing = threading.Thread(target=_publish_until, args=(service, heard))
        publishing.start()
        line = watching.stdout.readline() if watching.stdout else ""
        heard.set()
        publishing.join(20)
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=20)
    finally:
        watching.kill()
    event = json.loads(line)
    assert event["event"] == "StateUpdate" and event["changes"][0]["names"] == ["genesis_obj"]
    assert watching.returncode == 130 and "Traceback" not in errors


def _publish_until(service: ScriptedService, heard: threading.Event) -> None:
    number = 1
    while not heard.wait(0.05) and number < 1000:
        service.client().send("cart", "publish", number)
        number += 1
