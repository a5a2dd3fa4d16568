"""`batos config` and `doctor`: what is in force, and whether this machine can carry it."""

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from deploy import settings
from ui_client import checks, report, values
from ui_client.check import Check
from ui_client.report import Failure, Json, answering


def register(app: typer.Typer) -> None:
    app.command()(config)
    app.command()(doctor)


def config(as_json: Json = False) -> None:
    """List every key with the value in force and where it comes from."""
    with answering(as_json):
        configuration = settings.load()
        keys = {
            f"{section}.{key}": {"value": value, "origin": configuration.origins[f"{section}.{key}"]}
            for section, table in msgspec.to_builtins(configuration.settings).items()
            for key, value in table.items()
        }
        if as_json:
            report.result({"home": str(configuration.home.path), "keys": keys})
            return
        table = Table("key", "value", "from", box=None, pad_edge=False, header_style="bold")
        for key, entry in keys.items():
            style = "dim" if entry["origin"] == "default" else "bold"
            value = Text(values.show(entry["value"]) or "(empty)", style=style)
            table.add_row(Text(key), value, Text(values.showable(entry["origin"]), style=style))
        report.out.print(Text(f"home  {configuration.home.path}"), soft_wrap=True)
        report.out.print(table)


def doctor(as_json: Json = False) -> None:
    """Check this machine: packages, places, sockets, confinement, memory. Exit status 1 when something essential is missing."""
    with answering(as_json):
        performed = []
        for check in checks.all_checks(settings.load()):
            performed.append(check)
            if not as_json:
                report.out.print(_line(check), soft_wrap=True)
        missing = [check for check in performed if check.essential and not check.well]
        if missing:
            names = ", ".join(check.name for check in missing)
            raise Failure("MachineUnfit", f"essential and missing: {names}", missing[0].remedy, details={"checks": performed})
        if as_json:
            report.result({"checks": performed})


def _line(check: Check) -> Text:
    mark, style = ("✓", "green") if check.well else ("✗", "red") if check.essential else ("!", "yellow")
    line = (
        Text(f"{mark} ", style=style).append(f"{check.name}: ", style="bold default").append(values.showable(check.seen), style="default")
    )
    return line.append(f"  → {values.showable(check.remedy)}", style=style) if check.remedy else line
