"""`batos ui`: the Kivy window."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from deploy import settings
from ui_client import report
from ui_client.client.client import Client
from ui_client.report import Failure, answering
from ui_client.window import environment as window_environment


def register(app: typer.Typer) -> None:
    app.command()(ui)


def ui(
    screenshot: Annotated[Path | None, typer.Option(help="Save what the window shows as PNG and end; needs no screen.")] = None,
    seconds: Annotated[float, typer.Option(help="When to take the screenshot.", min=0.1, max=600)] = 5.0,
) -> None:
    """Open the window "BAT OS Entropic UI"."""
    with answering(False):
        configuration = settings.load()
        if importlib.util.find_spec("kivy") is None:
            raise Failure("NoKivy", "Kivy is not installed", "install the extra: pip install 'batos[ui]'")
        try:
            window_environment.prepare(configuration.home.path / "kivy", offscreen=screenshot is not None)
        except window_environment.NoDisplay as error:
            raise Failure("NoDisplay", str(error), "run it on a desktop, under xvfb-run, or with --screenshot FILE") from error
        # Kivy reads its environment when it is imported, and costs every other command half a second.
        from ui_client.window import app as window

        app = window.build(lambda: Client(configuration=configuration))
        if screenshot:
            window.save_screenshot(app, screenshot, seconds)
        app.run()
        if screenshot:
            if not screenshot.is_file():
                raise Failure("NoScreenshot", f"{screenshot} was not written", "is its directory writable?")
            report.note(f"{screenshot} is written", style="green")
