"""`batos ui` as a person runs it, over a real bridge: the face that a real client fetched is on the pixels."""

from collections.abc import Iterator

import pytest

from tests.ui_client.commands.conftest import ScriptedService, run_command
from tests.ui_client.window.test_window import lit, pixels

pytestmark = pytest.mark.window


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedService]:
    with ScriptedService(tmp_path_factory.mktemp("home")) as started:
        started.start_scripted("uvm-1")
        yield started


def test_a_screenshot_shows_the_face_of_the_running_image(service: ScriptedService) -> None:
    before, after = service.home / "before.png", service.home / "after.png"
    assert run_command(service.home, "ui", "--screenshot", str(before), "--seconds", "4").status == 0
    assert service.runs("display_yourself") == [], "opening the window must not have a method written"
    assert run_command(service.home, "send", "genesis_obj", "display_yourself").status == 0
    answer = run_command(service.home, "ui", "--screenshot", str(after), "--seconds", "4")
    assert answer.status == 0 and str(after) in answer.err
    without, face = pixels(before), pixels(after)
    assert without.shape == face.shape
    # Where the field `born` is, there was nothing below the two lines that say that there is no face yet.
    width = face.shape[1]
    born = (slice(78, 92), slice(int(width * 0.27), int(width * 0.69)))
    assert lit(face[born]) > 300
    assert lit(without[born]) == 0 < lit(without[36:78, born[1]])
    assert lit(face[5:35, :]) > 300
