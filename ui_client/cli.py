"""The `batos` command. Each command lives in a module of `ui_client.commands`; errors and JSON are `ui_client.report`'s.

Exit status: 0 done, 1 an error (one line says what and what to do), 2 wrong usage, 130 interrupted.
"""

import typer

from ui_client.commands import (
    adapters,
    autotelic,
    evaluation,
    events,
    history,
    image,
    keys,
    logs,
    machine,
    messages,
    models,
    prompt,
    revocation,
    service,
    transport,
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
    prompt,
    logs,
    image,
    keys,
    evaluation,
    window,
):
    group.register(app)


def main() -> None:
    """Entry point of the `batos` command."""
    app()


if __name__ == "__main__":
    main()
