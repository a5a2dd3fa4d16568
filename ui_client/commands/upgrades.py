"""`batos upgrade`, and `batos upgrades`: what the service is made of, replaced under way; docs/upgrade.md."""

import getpass
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from deploy import environment, service, settings
from deploy.settings import Configuration
from deploy.upgrader import candidate, instructions, journal, wheels
from deploy.upgrader.instructions import BadInstructions, ExpectedReply, UpdateInstructions
from deploy.upgrader.process import InvalidUpgradeEvent, UpgradeProcess
from deploy.upgrader.switching import prefixes_in_use
from ui_client import child, report, values
from ui_client.report import Failure, Json, answering
from ui_client.steps import Steps

_TAKEN_S: Final = 30.0
_EVERY_S: Final = 0.2
_SAYS: Final = {
    "building": "building the new environment",
    "proving": "proving it on a copy of the image",
    "switching": "replacing the processes",
    "awakening": "waiting until they are well",
    "probation": "on probation",
    "keeping": "keeping it",
    "reverting": "going back",
}

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the receipt.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Build it and prove it on a copy of the image; replace nothing.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Leave the wish, and do not follow what becomes of it.")]


def register(app: typer.Typer) -> None:
    app.command()(upgrade)
    group = typer.Typer(help="List upgrades, show one, go back, and free what old ones take.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(listing)
    group.command()(show)
    group.command()(rollback)
    group.command()(prune)
    app.add_typer(group, name="upgrades")


def upgrade(
    requirements: Annotated[list[str], typer.Argument(help="NAME==VERSION; @sha256:… behind it pins the wheel by a hash from elsewhere.")],
    dry_run: DryRun = False,
    reason: Reason = "",
    must_hold: Annotated[
        list[str] | None,
        typer.Option("--must-hold", metavar="'TARGET SELECTOR JSON'", help="A message that must have this result on the copy."),
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Replace distributions that the service is made of, while it serves; what is not well afterwards is taken back.

    The wheels come from the directory `upgrade.wheels` or the index `upgrade.index`. A new environment is built beside the one in force
    and proved on a copy of the image; then the processes are replaced, watched for `upgrade.probation_s` seconds, and kept, or everything
    is as it was.
    """
    with answering(as_json):
        configuration = settings.load()
        _expect_upgrader(configuration)
        try:
            wanted = [wheels.pinned(configuration, requirement) for requirement in requirements]
            expected = [_expected(text) for text in must_hold or []]
            wish = instructions.wish(
                configuration.home, _principal(), requirements=wanted, reason=reason, must_hold=expected, dry_run=dry_run
            )
            instructions.put(configuration.home, wish)
        except BadInstructions as bad:
            raise Failure(
                "BadInstructions", str(bad), "docs/upgrade.md says what can be wished; `batos config` has upgrade.wheels and upgrade.index"
            ) from bad
        _follow(configuration, wish, no_wait, as_json)


def listing(context: typer.Context, as_json: Json = False) -> None:
    """List the upgrades there were, and which environment is in force."""
    if context.invoked_subcommand is not None:
        return
    with answering(as_json):
        configuration = settings.load()
        upgrades = [_row(configuration, process) for process in journal.every(configuration.home)]
        current = environment.in_force(configuration.home)
        in_force = {"upgrade": current.upgrade if current else 0, "prefix": str(environment.prefix_in_force(configuration.home))}
        outdated = environment.is_outdated(configuration.home)
        if as_json:
            report.result({"in_force": in_force, "outdated": outdated, "upgrades": upgrades})
            return
        table = Table("upgrade", "when", "outcome", "what", "", box=None, pad_edge=False, header_style="bold")
        for row in upgrades:
            style = {"permanent": "green", "reverted": "yellow", "refused": "red"}.get(row["stage"], "")
            note = row["why"] or ("in force" if row["in_force"] else "its environment is kept" if row["kept"] else "")
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["at"]))
            cells = [Text(str(row["upgrade"])), Text(when), Text(row["stage"], style=style), Text(values.showable(row["what"]))]
            table.add_row(*cells, Text(values.showable(note)[:200]))
        report.out.print(table if upgrades else "there were no upgrades")
        report.out.print(Text(f"in force: {in_force['prefix']}"), soft_wrap=True)
        if outdated:
            report.note("what the service was set up in has changed since the last upgrade, and is in force again", "yellow")


def show(number: Annotated[int, typer.Argument(help="The upgrade's number.")], as_json: Json = False) -> None:
    """Show one upgrade: its stages, what changed, what was away for how long, and the log."""
    with answering(as_json):
        configuration = settings.load()
        process = _upgrade(configuration, number)
        directory = journal.directory_of(configuration.home, number)
        steps = (directory / "log").read_text(errors="replace") if (directory / "log").exists() else ""
        shown = process.receipt() | {"stage": process.stage, "steps": steps.splitlines(), "events": len(journal.read(directory))}
        if as_json:
            report.result(msgspec.to_builtins(shown))
            return
        for name in ("upgrade", "outcome", "why", "asked_by", "reason", "manner", "replayed", "answered_in_probation"):
            if shown[name] not in ("", None):
                report.out.print(Text(f"{name.replace('_', ' ')}: {values.showable(shown[name])}"), soft_wrap=True)
        for change in shown["changes"]:
            report.out.print(Text(f"  {values.showable(change)}"), soft_wrap=True)
        for title, unit in (("seconds", "took"), ("down_s", "was away for")):
            for name, seconds in shown[title].items():
                report.out.print(Text(f"  {name} {unit} {seconds:.2f} s"), soft_wrap=True)
        for line in [*shown["steps"], *shown["log"].splitlines()]:
            report.out.print(Text(f"  {values.showable(line)}", style="dim"), soft_wrap=True)


def rollback(
    to: Annotated[
        int | None, typer.Argument(help="The upgrade whose environment is to come back; 0: the first. Default: the one before.")
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Go back to an earlier environment, as carefully as an upgrade goes forward; one that is on trial is given up at once."""
    with answering(as_json):
        configuration = settings.load()
        _expect_upgrader(configuration)
        target = _before(configuration) if to is None else to
        try:
            wish = instructions.wish(configuration.home, _principal(), back_to=target, reason="rollback")
            instructions.put(configuration.home, wish)
        except BadInstructions as bad:
            raise Failure("BadInstructions", str(bad), "`batos upgrades` lists what there is to go back to") from bad
        trial = next((process for process in journal.every(configuration.home) if not process.ended), None)
        _follow(configuration, wish if trial is None else trial.wish or wish, no_wait, as_json, going_back=True)


def prune(
    keep: Annotated[int, typer.Option("--keep", min=0, max=100, help="Environments kept besides those in use.")] = 0, as_json: Json = False
) -> None:
    """Remove environments that nobody uses, the newest `--keep` excepted; never the one in force, or one that a process runs from."""
    with answering(as_json):
        configuration = settings.load()
        if any(not process.ended for process in journal.every(configuration.home)):
            raise Failure("UpgradeUnderWay", "an upgrade is under way", "try again when it has ended; `batos upgrades` shows it")
        freed = candidate.prune(configuration, _used(configuration), keep)
        if as_json:
            report.result({"freed": [{"upgrade": number, "bytes": octets} for number, octets in freed.items()]})
            return
        for number, octets in freed.items():
            report.out.print(f"environment of upgrade {number}: {octets:,} bytes freed")
        report.out.print("nothing to remove" if not freed else f"{sum(freed.values()):,} bytes in all")


def _follow(configuration: Configuration, wish: UpdateInstructions, no_wait: bool, as_json: bool, *, going_back: bool = False) -> None:
    """Show an upgrade's stages until it ends. Raises Failure where it is not what was wished for."""
    if no_wait:
        report.result({"wish": wish.id}) if as_json else report.note(f"wish {wish.id} waits for the upgrader; `batos upgrades` shows it")
        return
    steps = Steps(report.err)
    process = _until_taken(configuration, wish, steps)
    while not process.ended:
        stage = process.stage
        with steps.step(_SAYS.get(stage, stage)) as step:
            while process.stage == stage:
                steps.tick(step, _last_line(configuration, process.number))
                time.sleep(_EVERY_S)
                process = _upgrade(configuration, process.number)
            step.outcome = _outcome(process, stage)
    details = {"upgrade": process.number, "stage": process.stage, "receipt": msgspec.to_builtins(process.receipt())}
    why = "; ".join(process.why)
    remedy = f"the service is as it was; `batos upgrades show {process.number}` has the log"
    if process.stage == "refused":
        raise Failure("UpgradeRefused", why, remedy, details=details)
    if process.stage == "reverted" and not going_back:
        raise Failure("UpgradeReverted", why, remedy, details=details)
    if as_json:
        report.result(details)
    else:
        report.note(f"upgrade {process.number}: {'proved, and nothing was replaced' if process.stage == 'dry' else process.stage}", "green")


def _until_taken(configuration: Configuration, wish: UpdateInstructions, steps: Steps) -> UpgradeProcess:
    process: UpgradeProcess | None = None

    def taken() -> bool:
        nonlocal process
        process = journal.wished(configuration.home, wish.id)
        return process is not None

    with steps.step("the wish") as step:
        if not child.wait_until(taken, _TAKEN_S, lambda: steps.tick(step, "waits for the upgrader"), _EVERY_S) or process is None:
            remedy = "it waits for another upgrade to end (`batos upgrades`), or `batos logs upgrader` says why not"
            raise Failure("NotTaken", f"the upgrader did not take the wish within {_TAKEN_S:.0f} s", remedy)
        step.outcome = f"upgrade {process.number}"
    return process


def _outcome(process: UpgradeProcess, stage: str) -> str:
    if stage == "building" and process.built is not None:
        return f"{len(process.built.changes)} distributions, {process.built.octets:,} bytes on disk"
    if stage == "switching" and process.planks:
        longest = max(process.planks, key=lambda plank: plank.down_s)
        return f"{len(process.planks)} processes, {longest.program} was away longest, {longest.down_s:.2f} s"
    return "; ".join(process.why)[:300] if process.why else ""


def _last_line(configuration: Configuration, number: int) -> str:
    last = child.tail(journal.directory_of(configuration.home, number) / "log", lines=1)
    return last.partition(" ")[2]


def _upgrade(configuration: Configuration, number: int) -> UpgradeProcess:
    directory = journal.directory_of(configuration.home, number)
    try:
        process = journal.replayed(directory)
    except InvalidUpgradeEvent as error:
        raise Failure("DamagedJournal", str(error), "the upgrader leaves it alone; remove its directory") from error
    if process.stage == "new":
        raise Failure("NoSuchUpgrade", f"there is no upgrade {number}", "`batos upgrades` lists them")
    return process


def _row(configuration: Configuration, process: UpgradeProcess) -> dict[str, Any]:
    wish, current = process.wish, environment.in_force(configuration.home)
    what = ", ".join(each.replace("==", " ") for each in process.wished)
    if wish and wish.back_to is not None:
        what = f"back to {wish.back_to}"
    return {
        "upgrade": process.number,
        "at": process.stages[-1].at if process.stages else 0.0,
        "stage": process.stage,
        "what": what + (" (dry run)" if wish and wish.dry_run else ""),
        "why": "; ".join(process.why),
        "asked_by": process.asked_by,
        "in_force": process.number == (current.upgrade if current else 0),
        "kept": process.number in candidate.made(configuration),
    }


def _before(configuration: Configuration) -> int:
    """The upgrade whose environment was in force before the one that is now, or before the one that is on trial."""
    processes = list(journal.every(configuration.home))
    trial = next((process for process in processes if not process.ended), None)
    current = environment.in_force(configuration.home)
    if trial is None and current is None:
        raise Failure("NothingToDo", "no upgrade is in force: there is nothing to go back from", "`batos upgrades` lists what there was")
    subject = trial or next(process for process in processes if current is not None and process.number == current.upgrade)
    before = Path(subject.built.before) if subject.built else environment.prefix_in_force(configuration.home)
    return int(before.name) if before.parent == candidate.directory(configuration) else 0


def _used(configuration: Configuration) -> list[Path]:
    try:
        return prefixes_in_use(configuration)
    except service.NotRunning:
        return []


def _expect_upgrader(configuration: Configuration) -> None:
    states = {status.name: status.state for status in service.statuses(configuration)}
    if states.get("upgrader") not in ("RUNNING", "STARTING"):
        raise Failure("NoUpgrader", "the upgrader does not run", "`batos logs upgrader` says why; `batos down` and `batos up` start it")


def _expected(text: str) -> ExpectedReply:
    target, _, rest = text.strip().partition(" ")
    selector, _, result = rest.partition(" ")
    try:
        return msgspec.convert({"target": target, "selector": selector, "result": msgspec.json.decode(result)}, ExpectedReply)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise typer.BadParameter(f"--must-hold {text!r} is no target, selector and JSON result: {error}") from error


def _principal() -> str:
    return getpass.getuser()
