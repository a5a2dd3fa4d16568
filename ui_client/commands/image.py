"""`batos image`: what looks after the image's files.

`pack`, `backup`, `restore` and `verify` are the image server's own tool, run with the same streams; `check` and `rollback` ask
`uvm.awakening.rewind`, which knows what a boot needs.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from deploy import service, settings
from ui_client import recovery, report, values
from ui_client.report import Failure, Json, answering

Directory = Annotated[Path, typer.Argument(help="Directory of the backup.")]


def register(app: typer.Typer) -> None:
    image = typer.Typer(help="Pack, back up, restore, verify, check and roll back the image.", no_args_is_help=True, rich_markup_mode=None)
    image.command()(pack)
    image.command()(backup)
    image.command()(restore)
    image.command()(verify)
    image.command()(check)
    image.command()(rollback)
    app.add_typer(image, name="image")


def pack(as_json: Json = False) -> None:
    """Free the space of what is no longer reachable."""
    _run("pack", as_json=as_json)


def backup(
    directory: Directory,
    copy: Annotated[bool, typer.Option("--copy", help="Copy blobs also where they could be linked.")] = False,
    as_json: Json = False,
) -> None:
    """Add what changed since the last backup in DIRECTORY; the service may run."""
    _run("backup", str(directory), *(["--copy"] if copy else []), as_json=as_json)


def restore(
    directory: Directory,
    force: Annotated[bool, typer.Option("--force", help="Replace an image that exists.")] = False,
    at: Annotated[str, typer.Option("--at", metavar="UTC", help="As of this time, yyyy-mm-dd[-hh[-mm[-ss]]]; default: the newest.")] = "",
    as_json: Json = False,
) -> None:
    """Bring an image back from a backup; the service must be down."""
    _run("restore", str(directory), *(["--force"] if force else []), *(["--at", at] if at else []), as_json=as_json)


def verify(as_json: Json = False) -> None:
    """Walk every record and check the digest of every blob. Whether it boots, `check` says."""
    _run("verify", as_json=as_json)


def check(as_json: Json = False) -> None:
    """Say whether the image boots, and object by object what is broken; the service may run. Exit status 1 when something is."""
    with answering(as_json):
        checked = recovery.check(settings.load())
        if as_json:
            report.result(checked)
        else:
            _print_check(checked)
    if checked["problems"]:
        raise typer.Exit(1)


def rollback(
    to: Annotated[str, typer.Option("--to", metavar="TID", help="The transaction to go back to; default: the last one that boots.")] = "",
    listing: Annotated[bool, typer.Option("--list", help="Show the newest transactions, and after which of them the image boots.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Go back to the last transaction after which the image boots. The image as it is now is set aside; the service must be down."""
    with answering(as_json):
        configuration = settings.load()
        if listing:
            listed = recovery.listed(configuration)
            if as_json:
                report.result(listed)
                return
            for transaction in listed:
                report.out.print(f"{transaction['tid']}  {transaction['time']}  {'boots' if transaction['boots'] else 'does not boot'}")
            return
        if _runs(configuration):
            raise Failure("ImageInUse", "the service is running", "stop it with `batos down`, then roll back")
        point = recovery.way_back(configuration, to)
        if not as_json:
            _print_point(point)
        if not point["lost"]["transactions"] and not point["lost"]["unread"]:
            raise Failure("NothingToDo", "the newest transaction boots: there is nothing to go back from", "`batos image check` says more")
        if not yes and (as_json or not typer.confirm("Go back to it?", err=True)):
            raise Failure("NotConfirmed", "nothing was changed", "`--yes` goes back without asking", details={"way": point})
    _run("rollback", point["tid"], as_json=as_json)


def _runs(configuration: settings.Configuration) -> bool:
    try:
        return bool(service.statuses(configuration))
    except service.NotRunning:
        return False


def _print_check(checked: dict[str, Any]) -> None:
    counted = ", ".join(f"{checked[name]} {name}" for name in ("objects", "methods", "records", "blobs"))
    report.out.print(Text(counted if checked["awake"] else "no objects yet"))
    for problem in checked["problems"]:
        report.out.print(Text(values.showable(f"{problem['where']}: {problem['what']} — {problem['remedy']}")), soft_wrap=True)
    report.out.print("boots" if checked["boots"] else "does not boot")


def _print_point(point: dict[str, Any]) -> None:
    lost = point["lost"]
    report.note(
        f"back to transaction {point['tid']} of {point['time']}, after which the image {'boots' if point['boots'] else 'does not boot'}"
    )
    if lost["transactions"]:
        report.note(f"{lost['transactions']} transactions would be set aside, of {lost['first']} to {lost['last']}")
    for message in lost["messages"]:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(message["at"]))
        report.note(f"  {moment}  {message['selector']}  (session {message['session'] or '-'}, number {message['seq']})")
    if lost["more_messages"]:
        report.note(f"  … and {lost['more_messages']} messages before these")
    if lost["names"]:
        report.note(f"names that would be gone: {', '.join(lost['names'][:50])}{' …' if len(lost['names']) > 50 else ''}")
    if lost["unread"]:
        report.note(f"{lost['unread']} bytes at the end cannot be read")


def _run(*arguments: str, as_json: bool) -> None:
    done = subprocess.run([sys.executable, "-m", "zeo_server.image", *arguments, *(["--json"] if as_json else [])], check=False)
    # A tool that a signal ended has a negative status; a shell's convention is 128 and the signal.
    raise typer.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)
