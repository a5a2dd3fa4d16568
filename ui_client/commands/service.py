"""`batos up`, `down`, `status`: the service as a whole."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy import data_type, service, settings
from deploy.settings import Configuration, is_tcp
from ui_client import child, report, startup, values
from ui_client.client.client import Client
from ui_client.client.errors import ClientError
from ui_client.commands import prompt
from ui_client.commands.models import MIND
from ui_client.report import Failure, Json, answering
from ui_client.steps import Steps

STOP_TIMEOUT_S = 60.0
_WELL = ("RUNNING", "STARTING")
_JUDGEMENT_S = 3.0
"""Longest that `status` waits for the image to say how it judges; the processes are what it is asked for."""


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    converse: Annotated[bool, typer.Option(help="Hold the first conversation.")] = False,
    as_json: Json = False,
) -> None:
    """Start the service; the first time, bring the image to life."""
    with answering(as_json):
        configuration = settings.load()
        steps = Steps(report.err)
        outcome = startup.awaken(configuration, steps)
        if converse:
            with Client(configuration=configuration) as client:
                outcome |= startup.converse(client, configuration, steps)
        if as_json:
            report.result(outcome | {"endpoints": _endpoints(configuration), "phases": _phases(steps)})
        else:
            report.note("BAT OS is up: `batos ui` opens the window, `batos down` stops it", style="green")


def down(as_json: Json = False) -> None:
    """Stop every process of the service, in order. Nothing to stop is fine."""
    with answering(as_json):
        configuration = settings.load()
        steps = Steps(report.err)
        with steps.step("service") as step:
            child.in_background(lambda: service.stop(configuration, STOP_TIMEOUT_S), lambda: steps.tick(step))
            step.outcome = "all processes are gone"
        if as_json:
            report.result({"stopped": True, "seconds": round(step.seconds, 3)})


def status(as_json: Json = False) -> None:
    """Show the processes, the bridge's queue, and where to connect. Exit status 1 unless all of it is well."""
    with answering(as_json):
        configuration = settings.load()
        programs = _programs(configuration)
        bridge = _ask_bridge(configuration) if programs else {}
        summary = {
            "endpoints": _endpoints(configuration),
            "home": str(configuration.home.path),
            "model": _model(configuration),
            "judgement": _judgement(configuration) if bridge else None,
            "programs": programs,
            "bridge": bridge,
        }
        unwell = [f"{program.name} is {program.state}" for program in programs if program.state not in _WELL]
        if not programs:
            raise Failure("NotRunning", f"no service runs for {configuration.home.path}", "start it: batos up", details=summary)
        if unwell or not bridge:
            raise Failure("Unwell", "; ".join(unwell) or "the bridge does not answer", "`batos logs` says why", details=summary)
        if as_json:
            report.result(summary)
        else:
            _print(summary, programs, bridge)


def _programs(configuration: Configuration) -> list[service.ProgramStatus]:
    try:
        return service.statuses(configuration)
    except service.NotRunning:
        return []


def _ask_bridge(configuration: Configuration) -> dict[str, Any]:
    try:
        with Client(configuration=configuration) as client:
            answer: dict[str, Any] = client.status()
            return answer
    except ClientError:
        return {}


def _endpoints(configuration: Configuration) -> dict[str, str]:
    tcp = {"tcp": configuration.settings.bridge.endpoint} if is_tcp(configuration.settings.bridge.endpoint) else {}
    return {"bridge": configuration.bridge_endpoint, "events": configuration.events_endpoint, **tcp}


def _model(configuration: Configuration) -> dict[str, str]:
    """Who writes the image's texts: `endpoint` is empty where an engine here does, with the image's own model, in `dtype`."""
    inference = configuration.settings.inference
    facts = {"address": configuration.inference_endpoint, "endpoint": inference.endpoint, "endpoint_model": inference.endpoint_model}
    here = data_type.here(inference)
    return facts if inference.endpoint else facts | {"dtype": here.name, "dtype_why": here.why}


def _judgement(configuration: Configuration) -> dict[str, Any] | None:
    """Whose numbers weigh drafts, as the image says (docs/protocol.md, `showJudgement`); None where it does not in a moment."""
    try:
        with Client(configuration=configuration) as client:
            if not client.send(MIND, "respondsTo_", "showJudgement", deadline=_JUDGEMENT_S):
                return None  # an image that no awakening of this version has renewed; it would write a method
            in_force: dict[str, Any] = client.send(MIND, "showJudgement", deadline=_JUDGEMENT_S)
            return in_force
    except ClientError:
        return None


def _phases(steps: Steps) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase.name,
            "seconds": round(phase.seconds, 3),
            "steps": [{"step": step.text, "outcome": step.outcome, "seconds": round(step.seconds, 3)} for step in phase.steps],
        }
        for phase in steps.phases
    ]


def _print(summary: dict[str, Any], programs: list[service.ProgramStatus], bridge: dict[str, Any]) -> None:
    table = Table("process", "state", "pid", "", box=None, pad_edge=False, header_style="bold")
    for program in programs:
        style = "green" if program.state == "RUNNING" else "yellow"
        table.add_row(
            Text(program.name), Text(program.state, style=style), Text(str(program.pid or "")), Text(values.showable(program.description))
        )
    report.out.print(table)
    for name, endpoint in summary["endpoints"].items():
        report.out.print(Text(f"{name}: {endpoint}"), soft_wrap=True)
    if (model := summary["model"])["endpoint"]:
        report.out.print(Text(f"model: {model['endpoint_model'] or 'what it serves'} at {model['endpoint']}"), soft_wrap=True)
    else:
        report.out.print(Text(f"model: in {model['dtype']}; {model['dtype_why']}"), soft_wrap=True)
    if summary["judgement"] is not None:
        report.out.print(Text(f"judgement: {prompt.weighing(summary['judgement'])}"), soft_wrap=True)
    figures = {key: value for key, value in bridge.items() if isinstance(value, int | float | str)}
    report.out.print(Text("bridge: " + ", ".join(f"{key} {values.show(value)}" for key, value in figures.items())), soft_wrap=True)
    uvms = bridge.get("uvms")
    for uvm in uvms if isinstance(uvms, list) else []:
        report.out.print(Text(f"  {values.show(uvm)}"), soft_wrap=True)
