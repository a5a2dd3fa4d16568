"""`batos image pack | backup | restore | verify`: the image server's own tool, run with the same streams."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ui_client.report import Json

Directory = Annotated[Path, typer.Argument(help="Directory of the backup.")]


def register(app: typer.Typer) -> None:
    image = typer.Typer(help="Pack, back up, restore and verify the image.", no_args_is_help=True, rich_markup_mode=None)
    image.command()(pack)
    image.command()(backup)
    image.command()(restore)
    image.command()(verify)
    app.add_typer(image, name="image")


def pack(as_json: Json = False) -> None:
    """Free the space of what is no longer reachable."""
    _run("pack", as_json=as_json)


def backup(directory: Directory, as_json: Json = False) -> None:
    """Add what changed since the last backup in DIRECTORY; the service may run."""
    _run("backup", str(directory), as_json=as_json)


def restore(
    directory: Directory,
    force: Annotated[bool, typer.Option("--force", help="Replace an image that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Bring an image back from a backup; the service must be down."""
    _run("restore", str(directory), *(["--force"] if force else []), as_json=as_json)


def verify(as_json: Json = False) -> None:
    """Walk every record and check the digest of every blob."""
    _run("verify", as_json=as_json)


def _run(*arguments: str, as_json: bool) -> None:
    done = subprocess.run([sys.executable, "-m", "zeo_server.image", *arguments, *(["--json"] if as_json else [])], check=False)
    # A tool that a signal ended has a negative status; a shell's convention is 128 and the signal.
    raise typer.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)
