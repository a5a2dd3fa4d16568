"""`batos eval`: how good the image is at what nobody has written yet, on a suite of tasks (docs/evaluation.md)."""

import hashlib
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from deploy import settings
from deploy.settings import Configuration
from ui_client import report, values
from ui_client.child import in_background
from ui_client.client.client import Client
from ui_client.client.errors import ClientError, RemoteError
from ui_client.connection import connect
from ui_client.evaluation import plot, throwaway
from ui_client.evaluation.arms import FULL, Arm, arms, set_up
from ui_client.evaluation.figures import CurvePoint, Share
from ui_client.evaluation.report import FORMAT, EvaluationReport, EvaluationSummary, GroupFigures, TaskReport, summary, write
from ui_client.evaluation.runner import SuiteRun
from ui_client.evaluation.suite import SuiteBroken, SuiteTask, notes, read_suite
from ui_client.report import Failure, Json, answering
from ui_client.steps import Steps

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Thresholds whose points of the curve are printed; the report has all."""
WARM_S = 1200.0
"""How long the engine may take to have its first thought."""
_WRONG = 10
_RISK = "uvm.risk"
_KEYS = frozenset(f"{section}.{key}" for section, table in settings.sections().items() for key in table.__struct_fields__)
_NOTHING = "–"


def register(app: typer.Typer) -> None:
    app.command(name="eval")(evaluate)


def evaluate(
    suite: Annotated[Path, typer.Argument(help="One task a line, in JSON; docs/evaluation.md has the format.")],
    out: Annotated[Path | None, typer.Option(metavar="REPORT", help="Write every task and draft with its verdict to this file.")] = None,
    arm: Annotated[str, typer.Option(metavar="NAME", help=f"Switch a part of the cognition off: {', '.join(arms(_KEYS))}.")] = FULL,
    here: Annotated[
        bool, typer.Option("--here", help="In the service that runs, on objects of its own, and not in a throwaway image.")
    ] = False,
    parallel: Annotated[
        int, typer.Option(help="Messages in flight; 8 keep the engine's batch full, 1 measures the time of a single one.", min=1, max=64)
    ] = 8,
    risk: Annotated[float | None, typer.Option(help="The setting uvm.risk of the throwaway image.", min=0, max=1)] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Longest that a task may take, seconds; else uvm.generation_deadline_s.", min=0.1, max=86_400)
    ] = None,
    pictures: Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="Draw calibration and precision–recall as SVG.")] = None,
    as_json: Json = False,
) -> None:
    """Run a suite of tasks that the image has not seen, and say how much of what it installs is right.

    It runs in a throwaway image with the settings and the model of the service, which starts for it and is gone afterwards. The system
    is never told what is expected. A task that fails for a reason outside of it, such as an engine that is away, counts as failed, not
    as wrong.
    """
    with answering(as_json):
        configuration = settings.load()
        text, tasks = _read(suite)
        chosen = _arm(arm)
        overlay = _overlay(chosen, risk)
        if here and (arm != FULL or risk is not None):
            raise Failure("BadArguments", "--arm and --risk change settings, and --here is the service as it runs", "leave out one of them")
        _writable(out)
        steps = Steps(report.err)
        began = time.time()
        with steps.phase("Evaluation"), _image(configuration, overlay, steps, here) as own:
            _prepare(own, chosen, steps)
            described = _described(own)
            reports = _run(own, tasks, parallel, deadline, steps)
        run = {
            "suite": suite.name,
            "sha256": hashlib.sha256(text).hexdigest(),
            "arm": arm,
            "risk": risk,
            "where": "here" if here else "throwaway",
            "parallel": parallel,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "seconds": round(time.time() - began, 3),
            "machine": platform.machine(),
            **described,
        }
        finished = EvaluationReport(FORMAT, run, summary(reports), reports)
        if out is not None:
            write(out, finished)
        if pictures is not None:
            plot.draw({suite.stem if arm == FULL else arm: finished}, pictures)
        if as_json:
            report.result({"run": run, "summary": finished.summary, "report": None if out is None else str(out)})
        else:
            _print(finished, out)


# --- before anything runs ----------------------------------------------------------------------------------------------


def _read(suite: Path) -> tuple[bytes, list[SuiteTask]]:
    text = suite.read_bytes()
    try:
        tasks = read_suite(text)
    except SuiteBroken as error:
        raise Failure("BadSuite", f"{suite}: {error.message}", error.remedy) from error
    if unread := notes(text):
        listed = ", ".join(f"{field} ({count})" for field, count in sorted(unread.items()))
        report.note(f"fields of {suite.name} that are not a task's, and count in nothing: {listed}", style="yellow")
    return text, tasks


def _arm(name: str) -> Arm:
    available = arms(_KEYS)
    if name not in available:
        listed = "; ".join(f"{choice} ({arm.summary})" for choice, arm in available.items())
        raise Failure("NoSuchArm", f"there is no arm {name!r}", f"the arms are {listed}", details={"arms": list(available)})
    return available[name]


def _overlay(arm: Arm, risk: float | None) -> dict[str, Any]:
    if risk is not None and _RISK not in _KEYS:
        raise Failure("NoSuchSetting", f"this version has no setting {_RISK}", "leave out --risk")
    return {**arm.settings, **({} if risk is None else {_RISK: risk})}


def _writable(out: Path | None) -> None:
    if out is not None and not out.absolute().parent.is_dir():
        raise Failure("NoSuchDirectory", f"{out.absolute().parent} is no directory", "make it, so that the report can be written there")


# --- the image ---------------------------------------------------------------------------------------------------------


@contextmanager
def _image(configuration: Configuration, overlay: Mapping[str, Any], steps: Steps, here: bool) -> Iterator[Configuration]:
    if here:
        yield configuration
        return
    with throwaway.throwaway(configuration, overlay, steps) as own:
        yield own


def _prepare(configuration: Configuration, arm: Arm, steps: Steps) -> None:
    """Set the arm up, and have the engine think once: its start is not what is measured."""
    with connect(configuration) as client:
        set_up(client, arm)
        with steps.step("engine") as step:
            in_background(lambda: _warm(client), lambda: steps.tick(step, "the model wakes"))
            step.outcome = "warm"


def _warm(client: Client) -> None:
    """One thought. A UVM waits for it no longer than for a method; the engine's start goes on meanwhile."""
    ends = time.monotonic() + WARM_S
    while True:
        try:
            client.send("pLLM_obj", "infer_", "1 + 1 =", 1, deadline=max(1.0, ends - time.monotonic()))
            return
        except RemoteError as error:
            if error.type != "DeadlineExceeded" or time.monotonic() > ends:
                raise


def _described(configuration: Configuration) -> dict[str, Any]:
    """Which model and adapters it thinks with, for whoever reads the report."""
    with connect(configuration) as client:
        try:
            models = client.send("pLLM_obj", "models")
            adapters = client.send("pLLM_obj", "adapters")
        except ClientError as error:
            return {"models": str(error)}
    inference = msgspec.to_builtins(configuration.settings.inference)
    options = ("dtype", "quantization", "lora", "max_streams", "endpoint", "endpoint_model")
    return {"models": models, "adapters": adapters, "inference": {name: inference[name] for name in options if name in inference}}


def _run(configuration: Configuration, tasks: list[SuiteTask], parallel: int, deadline: float | None, steps: Steps) -> list[TaskReport]:
    with steps.step(f"{len(tasks)} tasks, {min(parallel, len(tasks))} in flight") as step:
        suite = SuiteRun(
            tasks,
            lambda: Client(configuration=configuration, name="batos eval"),
            parallel=parallel,
            deadline_s=deadline or configuration.settings.uvm.generation_deadline_s,
            tell=lambda phase, done, of: steps.tick(step, f"{done} of {of} {phase}"),
        )
        reports = suite.run()
        failed = [task for task in reports if task.status == "failed"]
        step.outcome = "judged" if not failed else f"judged, but {len(failed)} failed"
    if len(failed) == len(reports):
        remedy = "`batos doctor` says what is missing; `batos logs` of the service what happened"
        raise Failure("NothingMeasured", f"all {len(failed)} tasks failed: {failed[0].error}: {failed[0].why}", remedy)
    return reports


# --- what is printed ---------------------------------------------------------------------------------------------------


def _print(finished: EvaluationReport, out: Path | None) -> None:
    whole = finished.summary
    columns = (
        "group",
        "tasks",
        "installed",
        "right of installed",
        "right of all",
        "refused",
        "first draft right",
        "median / p95",
        "tokens",
    )
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for name, figures in [*whole.groups.items(), ("all", whole.overall)]:
        table.add_row(
            *(Text(values.showable(cell)) for cell in _row(name, figures)), end_section=name != "all", style="bold" if name == "all" else ""
        )
    report.out.print(table)
    report.out.print(Text("intervals: 95 %, Wilson"), style="dim")
    _print_personas(whole)
    _print_curve(whole)
    failed = [task for task in finished.tasks if task.status == "failed"]
    for task in failed[:_WRONG]:
        report.note(f"failed, and not judged: {task.id}: {task.error}: {task.why}", style="red")
    if len(failed) > _WRONG:
        report.note(f"and {len(failed) - _WRONG} more failed; the report (--out) has them", style="red")
    if out is not None:
        report.note(f"every task and draft with its verdict: {out}")
    else:
        report.note("--out REPORT keeps every task and draft with its verdict")


def _row(name: str, figures: GroupFigures) -> list[str]:
    tasks = str(figures.tasks) if not figures.failed else f"{figures.tasks} ({figures.failed} failed)"
    times = _NOTHING if figures.seconds_median is None else f"{figures.seconds_median:.1f} / {figures.seconds_p95:.1f} s"
    shares = (figures.precision, figures.recall, figures.refused, figures.first_draft)
    return [name, tasks, f"{figures.installed.count}", *(_share(share) for share in shares), times, f"{figures.tokens:,}"]


def _print_personas(whole: EvaluationSummary) -> None:
    table = Table(
        "persona", "tasks", "drafts", "drafts right", "installed", "right of installed", box=None, pad_edge=False, header_style="bold"
    )
    for persona, written in whole.personas.items():
        counts = (persona, str(written.tasks), f"{written.drafts:,}")
        cells = (*counts, _share(written.drafts_right), str(written.installed), _share(written.precision))
        table.add_row(*(Text(values.showable(cell)) for cell in cells))
    if whole.personas:
        report.out.print(table)


def _print_curve(whole: EvaluationSummary) -> None:
    if not whole.curve:
        report.out.print(Text("no stated confidence: the image said of nothing how likely it is to be right, so there is no curve"))
        return
    table = Table("confidence ≥", "installed", "precision", "recall", box=None, pad_edge=False, header_style="bold")
    for threshold in THRESHOLDS:
        point = _at(whole.curve, threshold)
        if point is not None:
            table.add_row(f"{threshold:.2f}", str(point.installed), _share(point.precision), _share(point.recall))
    report.out.print(table)
    error = whole.calibration.error
    text = _NOTHING if error is None else f"{error:.3f}"
    report.out.print(Text(f"expected calibration error {text}, of {whole.stated} with a stated confidence, 10 bins"))


def _at(curve: list[CurvePoint], threshold: float) -> CurvePoint | None:
    """The point at which everything from the threshold on is installed."""
    reached = [point for point in curve if point.threshold >= threshold]
    return reached[-1] if reached else None


def _share(share: Share) -> str:
    if share.share is None or share.low is None or share.high is None:
        return _NOTHING
    return f"{share.count}/{share.of} {share.share:.0%} [{100 * share.low:.0f}–{100 * share.high:.0f}]"
