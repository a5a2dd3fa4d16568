"""The `batos` command. Each command lives in a module of `ui_client.commands`; errors and JSON are `ui_client.report`'s.

Exit status: 0 done, 1 an error (one line says what and what to do), 2 wrong usage, 130 interrupted.
"""

import os
import sys
from pathlib import Path

import typer

from deploy import environment
from deploy.home import Home
from ui_client.commands import (
    adapters,
    autotelic,
    evaluation,
    events,
    history,
    image,
    keys,
    lineage,
    logs,
    machine,
    messages,
    models,
    prompt,
    revocation,
    service,
    transport,
    upgrades,
    window,
)

app = typer.Typer(
    name="batos",
    help="BAT OS: a live object image shared by many processes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (
    service,
    messages,
    history,
    revocation,
    transport,
    events,
    machine,
    models,
    adapters,
    autotelic,
    lineage,
    prompt,
    logs,
    image,
    keys,
    upgrades,
    evaluation,
    window,
):
    group.register(app)


def main() -> None:
    """Entry point of the `batos` command, in the version that is in force in this home."""
    environment.enter(Home(Path(os.environ.get("BATOS_HOME", "var")).absolute()), "ui_client.cli", sys.argv[1:])
    app()


if __name__ == "__main__":
    main()
