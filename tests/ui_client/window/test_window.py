"""The window, run for real without a screen: what it shows, what its buttons send, what is on its pixels."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.window


@cache
def play(scenario: str, directory: Path) -> tuple[dict[str, Any], Path]:
    """Run a scenario of window_run once; what it told, and its screenshot."""
    screenshot = directory / f"{scenario}.png"
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.ui_client.window.window_run", scenario, str(screenshot)],
        cwd=ROOT,
        env=environment | {"SDL_VIDEODRIVER": "offscreen"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout.splitlines()[-1])
    assert "stuck" not in record, record["stuck"]
    return record, screenshot


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("window")


def pixels(file: Path) -> "np.ndarray[Any, Any]":
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def lit(area: "np.ndarray[Any, Any]") -> int:
    """How many pixels stand out from the background."""
    return int((np.abs(area - np.array([23, 26, 31])).sum(axis=2) > 60).sum())


def test_the_window_has_its_title_and_shows_live_values(directory: Path) -> None:
    record, _ = play("face", directory)
    assert record["title"] == "BAT OS Entropic UI"
    before = record["before"]["texts"]
    assert before[before.index("clones") + 1] == "0"
    assert {"genesis_obj  (1)", "cart  (1)"} <= set(before)
    assert record["before"]["status"] == "connected   transaction 64   2 objects   2 UVMs"


def test_a_clicked_button_sends_its_message_and_the_face_follows_the_image(directory: Path) -> None:
    record, _ = play("face", directory)
    assert record["sent"] == [["@1", "clone"]]
    after = record["after"]["texts"]
    assert after[after.index("clones") + 1] == "1"
    assert record["after"]["status"] == "connected   transaction 65   2 objects   2 UVMs"
    assert record["after"]["reply"] == "> genesis_obj clone\ncart"


def test_a_clicked_object_is_inspected(directory: Path) -> None:
    record, _ = play("face", directory)
    inspected = record["inspected"]["texts"]
    assert inspected[inspected.index("price") + 1] == "3.5"
    assert "•  total" in inspected


def test_the_face_is_really_drawn(directory: Path) -> None:
    _, face = play("face", directory)
    _, empty = play("faceless", directory)
    drawn, blank = pixels(face), pixels(empty)
    assert drawn.shape == blank.shape
    _height, width, _ = drawn.shape
    left, middle, right = (slice(0, int(width * 0.26)), slice(int(width * 0.27), int(width * 0.69)), slice(int(width * 0.71), width))
    # The face's rows: heading, field, button, list, graph; without a face there is one line of text.
    band = slice(36, 340)
    assert lit(drawn[band, middle]) > 3 * lit(blank[band, middle]) > 0
    assert lit(drawn[band, right]) > 300 and lit(blank[band, right]) == 0
    assert lit(drawn[band, left]) > 1000
    graph = drawn[215:320, middle]
    assert ((graph[:, :, 1] > 150) & (graph[:, :, 0] < 130)).sum() > 200


def test_the_message_field_sends_to_a_named_object_and_shows_the_reply(directory: Path) -> None:
    record, _ = play("message", directory)
    assert record["sent"] == [["cart", "add", 3, 4], ["cart", "fly", "[b]x[/b]"]]
    assert record["reply"]["reply"] == "> cart add 3 4\n7"
    assert "NotUnderstood: fly is not understood — define it" in record["error"]["reply"]
    assert "write TARGET SELECTOR ARGUMENTS" in record["usage"]["reply"]


def test_the_autotelic_loop_s_object_shows_the_metric_as_a_curve(directory: Path) -> None:
    record, screenshot = play("entropy", directory)
    assert "Composite Entropy Metric, now 0.800" in record["entropy"]["texts"] and record["sent"] == []
    shown = pixels(screenshot)
    right = shown[36:400, int(shown.shape[1] * 0.71) :]
    assert ((right[:, :, 1] > 150) & (right[:, :, 0] < 130)).sum() > 200


def test_an_image_without_a_face_is_not_made_to_write_one(directory: Path) -> None:
    record, _ = play("faceless", directory)
    assert record["sent"] == []
    assert any("does not understand display_yourself" in text for text in record["faceless"]["texts"])


def test_a_lost_connection_is_said_and_found_again(directory: Path) -> None:
    record, _ = play("lost", directory)
    assert record["lost"]["status"].startswith("reconnecting")
    assert "clones" in record["lost"]["texts"]
    assert record["again"]["status"].startswith("connected")


def test_a_click_answers_what_a_refusal_asks_back(directory: Path) -> None:
    record, _ = play("asked", directory)
    assert {"right is:", "10.0", "12.5"} <= set(record["asked"]["texts"])
    assert record["sent"] == [["cart", "total_price"], ["cart", "total_price"]]
    assert record["examples"] == [[12.5, 1.0]]  # as `batos send cart total_price --example 2` sends it
    assert record["answered"]["reply"] == "> cart total_price\n12.5"
    assert "right is:" not in record["answered"]["texts"]
