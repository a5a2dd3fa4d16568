"""`batos prompt`, on a real image: what a person and a script see of the text that the model is asked with."""

import json

import pytest
from typer.testing import CliRunner

from tests.ui_client.commands.test_revocation import InProcess
from tests.uvm.houses import House
from tests.uvm.images import awakened
from ui_client.cli import app
from ui_client.commands import prompt
from uvm.image import model_registry, prompts
from uvm.image.views import COVENANT, Weights
from uvm.objects import KIND, UvmObject

ADAPTER = Weights(digest="c" * 64, name="tone", base="0" * 64)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An image whose personas speak with an adapter that was trained on the first text."""
    with awakened() as image:
        house = House(image, None, {}, tmp_path)
        for module in ("prompt", "history"):
            monkeypatch.setattr(f"ui_client.commands.{module}.connect", lambda: InProcess(house))
        monkeypatch.setattr(prompts, "trained_on", lambda adapter: COVENANT)

        def speak():
            mind = image.named("pLLM_obj")
            mind.put("model", UvmObject({KIND: "model", "digest": ADAPTER.base, "name": "small", "blobs": {}}))
            mind.put("adapter", UvmObject({KIND: "adapter", "digest": ADAPTER.digest, "name": "tone", "base": ADAPTER.base, "blobs": {}}))

        house.transactor.run(speak)
        yield house


def batos(*arguments, stdin=None):
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"COLUMNS": "200"})


def result_of(*arguments, stdin=None):
    done = batos("prompt", *arguments, "--json", stdin=stdin)
    (line,) = done.stdout.splitlines()
    return json.loads(line)["result" if done.exit_code == 0 else "error"]


def test_the_text_alone_goes_to_stdout_and_what_is_known_of_it_to_stderr(house):
    shown = batos("prompt", "show")
    assert shown.exit_code == 0 and shown.stdout == COVENANT + "\n"
    assert f"of pLLM_obj; {prompts.digest(COVENANT)[:12]}, {len(COVENANT)} characters, about" in shown.stderr
    assert "tone@cccccccccccc was trained on it" in shown.stderr
    assert "drafts are weighed by the shipped one, which was not fitted to what writes here" in shown.stderr


def test_what_show_prints_is_what_set_takes_and_the_way_back_is_said(house, tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("Be brief.\n\n\tAnd kind.\n\n")
    done = batos("prompt", "set", str(file))
    assert done.exit_code == 0 and done.stdout == ""
    assert "was trained on another text" in done.stderr and "`batos prompt reset` brings its own back" in done.stderr
    assert batos("prompt", "show").stdout == "Be brief.\n\n\tAnd kind.\n"
    file.write_text(batos("prompt", "show").stdout)
    assert "was asked with this text already" in batos("prompt", "set", str(file)).stderr
    back = batos("prompt", "reset")
    assert "was trained on it" in back.stderr and "another text" not in back.stderr
    assert batos("prompt", "show").stdout == COVENANT + "\n"
    assert "entry uvm-1/c" in batos("prompt", "show").stderr


def test_a_persona_gets_its_own_and_an_undo_takes_it_away(house):
    answer = result_of("set", "-", "--persona", "robin", stdin="Draw.\n")
    assert (answer["text"], answer["from"], answer["unfit"], answer["before"]["text"]) == ("Draw.", "robin", ["robin"], COVENANT)
    assert result_of("show")["text"] == COVENANT
    shown = result_of("show", "--persona", "robin")
    assert shown["text"] == "Draw." and shown["earlier"][0]["text"] is None
    assert "none of its own" in batos("prompt", "show", "--persona", "robin").stderr
    assert "reset --persona robin" in batos("prompt", "set", "-", "--persona", "robin", stdin="Sing.").stderr
    entry = result_of("show", "--persona", "robin")["earlier"][-1]["entry"]
    assert result_of("reset", "--persona", "robin")["text"] == COVENANT
    assert entry.startswith("uvm-1/c")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"caf\xe9", "byte 3 begins no character"),
        (b"x" * 40_000, "more than 8,192 characters"),
        (b"x" * 8_193, "8,193 characters"),
        (b"\n\n", "empty"),
        (b"Be\r\nbrief.", "U+000D"),
    ],
)
def test_a_file_that_holds_no_such_text_is_refused_with_what_to_do_and_changes_nothing(house, tmp_path, content, says):
    file = tmp_path / "prompt.txt"
    file.write_bytes(content)
    error = result_of("set", str(file))
    assert error["type"] == "BadPrompt" and says in error["message"] and error["remedy"]
    assert result_of("show")["text"] == COVENANT and result_of("show")["earlier"] == []


def test_no_file_no_persona(house, tmp_path):
    for path, kind in ((tmp_path / "none", "FileNotFoundError"), (tmp_path, "IsADirectoryError")):
        error = result_of("set", str(path))
        assert error["type"] == kind and "- for stdin" in error["remedy"]
    assert result_of("show", "--persona", "genesis_obj")["type"] == "BadPrompt"
    assert result_of("show", "--persona", "nobody")["type"] == "NoSuchObject"


def test_the_command_knows_the_bound_of_the_image():
    assert prompt.CHARACTERS == prompts.CHARACTERS


def test_adapters_say_whether_a_judgement_came_with_them_and_an_assignment_whose_weighs(house, monkeypatch):
    monkeypatch.setattr("ui_client.commands.adapters.connect", lambda: InProcess(house))

    def enter():
        model = house.image.named("pLLM_obj").own("model")
        model_registry.enter(house.image, "model", model)
        facts = {KIND: "adapter", "digest": "d" * 64, "name": "plain", "base": ADAPTER.base, "blobs": {}}
        model_registry.enter(house.image, "adapter", UvmObject(facts))

    house.transactor.run(enter)
    listed = batos("adapters", "list")
    assert listed.exit_code == 0 and "judgement" in listed.stdout and "none of its own" in listed.stdout
    rows = json.loads(batos("adapters", "list", "--json").stdout)["result"]
    assert [(row["name"], row["judgement"]) for row in rows] == [("plain", False)]
    done = batos("adapters", "assign", "pLLM_obj", "plain")
    assert done.exit_code == 0 and "speaks with plain@dddddddddddd" in done.stderr
    assert "weighed by the shipped one, which was not fitted to what writes here" in done.stderr
