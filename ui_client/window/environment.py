"""What Kivy reads from its environment, set before it is imported. Called once, by the main thread of `batos ui`."""

import logging
import os
from pathlib import Path

# What Kivy logs as errors, with tracebacks, where xsel, xclip or libmtdev are missing, which it does not need.
_HARMLESS = ("Cutbuffer", "Input: MTDev")


class NoDisplay(Exception):
    """There is no screen to open a window on."""


def prepare(kivy_home: Path, *, offscreen: bool) -> None:
    """Set Kivy up: no arguments of ours taken, no log files, its own files under `kivy_home`.

    `offscreen` renders without any screen where there is none (for screenshots). Raises NoDisplay without a screen otherwise.
    """
    kivy_home.mkdir(parents=True, exist_ok=True)
    os.environ |= {"KIVY_NO_ARGS": "1", "KIVY_NO_FILELOG": "1", "KIVY_HOME": str(kivy_home), "KIVY_LOG_MODE": "PYTHON"}
    logger = logging.getLogger("kivy")
    logger.setLevel(logging.ERROR)
    logger.addFilter(lambda record: not record.getMessage().startswith(_HARMLESS))
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")):
        if not offscreen:
            raise NoDisplay("neither DISPLAY nor WAYLAND_DISPLAY is set")
        os.environ["SDL_VIDEODRIVER"] = "offscreen"
    from kivy.config import Config

    # Multisampling halves the speed where a processor draws; exit_on_escape would close the window while typing.
    Config.set("graphics", "multisamples", "0")
    Config.set("graphics", "width", "1100")
    Config.set("graphics", "height", "720")
    Config.set("kivy", "exit_on_escape", "0")
    Config.set("kivy", "log_level", "error")
    # SDL gives mouse and touch; the probing of raw devices needs a library and rights that few machines have.
    for device in Config.options("input"):
        Config.remove_option("input", device)
    Config.set("input", "mouse", "mouse,disable_multitouch")
