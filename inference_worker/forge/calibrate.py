"""Fit the judgement on drafts: `python -m inference_worker.forge.calibrate REPORT… --out FILE [--check REPORT…]`.

A process of its own. The reports are those of `batos eval SUITE --out REPORT`, in which every draft is judged, refused ones too.
What is written is the file that ships as `decision.json` beside the adapter that wrote the drafts (decision 26), and is
true of that adapter alone. How many drafts are written depends a little on the judgement in force: where the new one differs much from it,
evaluate and fit once more.

A logistic regression over the features of each group of drafts is fitted, to whether its best draft is right. What follows uses scores
that tasks get from a fit on the other tasks (five parts, by the digest of a task's id). They are made into probabilities (Platt), without
examples and with some, and a threshold is chosen for each risk by Learn-then-Test (Angelopoulos et al., arXiv 2110.01052): thresholds are
tested in a fixed order from strict to lax, from two starting points that share DELTA, for "of what is installed, more than this risk is
wrong", with the exact binomial tail, which is Clopper and Pearson's bound; the last one before the first that fails is taken. So, with a
probability of 1 - DELTA over the draw of the tasks, of what is installed at most the risk is wrong, on tasks like those. Where as many
tasks as there are cannot show that, the threshold is the laxest one at which no larger share was wrong, and `fitted.shown` does not list
the risk: an estimate, and no promise. `--check` shows how it does on reports that had no part in it; without it, a seventh of the tasks
is kept back.
"""

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DELTA: Final = 0.1
RISKS: Final = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
NEVER: Final = 2.0
"""A threshold that no confidence reaches."""
KINDS: Final = ("without", "with")
_RIDGE: Final = 10.0
_STEPS: Final = 60
_PARTS: Final = 5
_STARTS: Final = (1.5, 3.0)
"""Where tests of a threshold start: at so many times the least number of installed tasks that can show a risk."""
_BINS: Final = 10


@dataclass(frozen=True)
class GroupSeen:
    """A group of drafts: its features, and whether installing its best draft would have been right."""

    features: dict[str, float]
    agreement: float
    logprob: float
    right: bool


@dataclass(frozen=True)
class TaskSeen:
    """A task with the groups of its drafts. `kind`: without or with examples."""

    id: str
    kind: str
    groups: tuple[GroupSeen, ...]


@dataclass(frozen=True)
class ScoreModel:
    """A score: `bias`, and the sum of each weight times what its feature is above its mean."""

    bias: float
    weights: dict[str, float]
    means: dict[str, float]

    def score(self, features: dict[str, float]) -> float:
        """The higher, the likelier right."""
        return self.bias + sum(weight * (features.get(name, 0.0) - self.means[name]) for name, weight in self.weights.items())

    def chosen(self, task: TaskSeen) -> tuple[float, GroupSeen]:
        """The group that the image's rule takes, with its score."""
        best = max(task.groups, key=lambda group: (self.score(group.features), group.agreement, group.logprob))
        return self.score(best.features), best


@dataclass(frozen=True)
class Pick:
    """What the rule would install of a task. `declined`: most of its drafts said that the object does not know."""

    score: float
    right: bool
    declined: bool


# --- what is read -----------------------------------------------------------------------------------------------------


def tasks_of(report: dict[str, Any]) -> list[TaskSeen]:
    """The tasks of a report that have drafts with features and verdicts. Whatever is to be refused has no right draft."""
    tasks = []
    for task in report["tasks"]:
        if task.get("expects", "answer") == "containment" or task.get("status") == "failed":
            continue
        groups: dict[str, list[tuple[float, GroupSeen]]] = {}
        for draft in task.get("drafts", []):
            judged = {**draft.get("more", {}), **draft}
            if judged.get("features") and judged.get("right") is not None:
                right = bool(judged["right"]) and task.get("expects", "answer") != "refusal"
                group = GroupSeen(
                    dict(judged["features"]), float(judged["features"].get("share", 0)), float(judged.get("logprob", 0)), right
                )
                groups.setdefault(str(judged.get("group", judged.get("source"))), []).append((group.logprob, group))
        best = tuple(max(members, key=lambda member: member[0])[1] for members in groups.values())
        if best:
            kind = "with" if any(group.features.get("examples", 0) > 0 for group in best) else "without"
            tasks.append(TaskSeen(str(task["id"]), kind, best))
    return tasks


def part_of(task: TaskSeen, parts: int) -> int:
    """Which part of the tasks a task is in, for good."""
    return int.from_bytes(hashlib.sha256(f"part {task.id}".encode()).digest()[:4]) % parts


# --- the score --------------------------------------------------------------------------------------------------------


def fit(tasks: Sequence[TaskSeen]) -> ScoreModel:
    """A logistic regression over the groups of these tasks, each task counting as one. Raises ValueError without right and wrong ones."""
    rows = [(group.features, group.right, 1 / len(task.groups)) for task in tasks for group in task.groups]
    if not any(right for _, right, _ in rows) or all(right for _, right, _ in rows):
        raise ValueError(f"{len(rows)} groups of drafts in {len(tasks)} tasks, all right or all wrong: there is nothing to be learned")
    names = sorted({name for features, _, _ in rows for name in features})
    means = {name: sum(features.get(name, 0.0) for features, _, _ in rows) / len(rows) for name in names}
    spread = {name: math.sqrt(sum((features.get(name, 0.0) - means[name]) ** 2 for features, _, _ in rows) / len(rows)) for name in names}
    used = [name for name in names if spread[name] > 1e-9]
    points = [[1.0, *((features.get(name, 0.0) - means[name]) / spread[name] for name in used)] for features, _, _ in rows]
    coefficients = regression(points, [float(right) for _, right, _ in rows], [weight for _, _, weight in rows], _RIDGE)
    weights = {name: value / spread[name] for name, value in zip(used, coefficients[1:], strict=True)}
    return ScoreModel(coefficients[0], {name: weights.get(name, 0.0) for name in names}, means)


def regression(points: Sequence[Sequence[float]], targets: Sequence[float], weights: Sequence[float], ridge: float) -> list[float]:
    """Weights of a logistic regression, by Newton's steps; the first one is of the constant, which `ridge` does not hold down."""
    size = len(points[0])
    coefficients = [0.0] * size
    for _ in range(_STEPS):
        slope = [0.0] * size
        curve = [[0.0] * size for _ in range(size)]
        for point, right, weight in zip(points, targets, weights, strict=True):
            chance = logistic(sum(a * b for a, b in zip(coefficients, point, strict=True)))
            step, bend = weight * (right - chance), weight * max(1e-6, chance * (1 - chance))
            for i in range(size):
                slope[i] += step * point[i]
                row, value = curve[i], bend * point[i]
                for j in range(size):
                    row[j] += value * point[j]
        for i in range(size):
            slope[i] -= (ridge if i else 1e-6) * coefficients[i]
            curve[i][i] += ridge if i else 1e-6
        change = solved(curve, slope)
        length = max(abs(value) for value in change)
        coefficients = [value + part * min(1.0, 4 / length if length else 1.0) for value, part in zip(coefficients, change, strict=True)]
        if length < 1e-7:
            break
    return coefficients


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """The solution of a system of linear equations, by elimination with pivots."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[row][size] / rows[row][row] for row in range(size)]


def logistic(value: float) -> float:
    """The logistic function, where it can be computed."""
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, value))))


# --- probabilities and thresholds -------------------------------------------------------------------------------------


def picks(model: ScoreModel, tasks: Iterable[TaskSeen]) -> list[Pick]:
    """What the rule would install of each task."""
    picked = []
    for task in tasks:
        score, group = model.chosen(task)
        declined = task.kind == "without" and group.features.get("declined", 0.0) > group.features.get("share", 0.0)
        picked.append(Pick(score, group.right, declined))
    return picked


def platt(picked: Sequence[Pick]) -> tuple[float, float]:
    """Slope and offset that make a probability of a score, with Platt's targets, which are never quite 0 or 1."""
    right = sum(pick.right for pick in picked)
    if not picked:
        return 1.0, 0.0
    high, low = (right + 1) / (right + 2), 1 / (len(picked) - right + 2)
    targets = [high if pick.right else low for pick in picked]
    offset, slope = regression([[1.0, pick.score] for pick in picked], targets, [1.0] * len(picked), 1e-3)
    return max(0.05, slope), offset


def tail(wrong: int, number: int, risk: float) -> float:
    """How likely so few wrong ones are, or fewer, of so many, if each is wrong with this risk."""
    if number == 0:
        return 1.0
    logs = (
        math.lgamma(number + 1)
        - math.lgamma(count + 1)
        - math.lgamma(number - count + 1)
        + count * math.log(risk)
        + (number - count) * math.log1p(-risk)
        for count in range(wrong + 1)
    )
    return min(1.0, sum(map(math.exp, logs)))


def threshold(picked: Sequence[Pick], risk: float) -> float | None:
    """The lowest score from which on it is shown that at most `risk` of what is installed is wrong; None where that cannot be shown."""
    needed = math.ceil(math.log(DELTA / len(_STARTS)) / math.log1p(-risk))  # so many without one wrong are the least that can show it
    scores = sorted((pick.score for pick in picked if not pick.declined), reverse=True)
    shown = []
    for start in _STARTS:
        for level in dict.fromkeys(scores[math.ceil(start * needed) - 1 :]):
            wrong, installed = _wrong(picked, level)
            if tail(wrong, installed, risk) > DELTA / len(_STARTS):
                break
            shown.append(level)
    return min(shown, default=None)


def estimate(picked: Sequence[Pick], risk: float) -> float | None:
    """The lowest score from which on at most `risk` of what was installed was wrong, counting half a task more; None: there is none."""
    levels = {pick.score for pick in picked if not pick.declined}
    counted = ((level, *_wrong(picked, level)) for level in levels)
    return min((level for level, wrong, installed in counted if (wrong + 0.5) / (installed + 1) <= risk), default=None)


def _wrong(picked: Sequence[Pick], level: float) -> tuple[int, int]:
    """How many of those that would be installed are wrong, and how many they are."""
    installed = [pick for pick in picked if pick.score >= level and not pick.declined]
    return sum(not pick.right for pick in installed), len(installed)


def judgement(tasks: Sequence[TaskSeen]) -> dict[str, Any]:
    """The file: fitted on all of these tasks, calibrated on scores that each gets from a fit on others."""
    model = fit(tasks)
    others = [fit([task for task in tasks if part_of(task, _PARTS) != part]) for part in range(_PARTS)]
    calibration: dict[str, list[float]] = {}
    thresholds: dict[str, list[list[float]]] = {}
    promised: dict[str, list[float]] = {}
    for kind in KINDS:
        picked = [pick for task in tasks if task.kind == kind for pick in picks(others[part_of(task, _PARTS)], [task])]
        slope, offset = platt(picked)
        calibration[kind], promised[kind] = [slope, offset], []
        rows, least = [], NEVER
        for risk in RISKS:
            level = threshold(picked, risk)
            if level is not None:
                promised[kind].append(risk)
            else:
                level = estimate(picked, risk)
            if level is not None:
                least = min(least, logistic(slope * level + offset) - 1e-9)
            rows.append([risk, least])
        thresholds[kind] = rows
    return {
        "bias": model.bias,
        "weights": model.weights,
        "means": model.means,
        "calibration": calibration,
        "thresholds": thresholds,
        "fitted": {"tasks": len(tasks), "delta": DELTA, "shown": promised},
    }


# --- the promise, checked ---------------------------------------------------------------------------------------------


def decided(content: dict[str, Any], task: TaskSeen) -> tuple[float, bool, bool]:
    """The confidence of what the rule would take, whether that is right, and whether the drafts decline: as the image's rule has it."""
    model = ScoreModel(content["bias"], content["weights"], content["means"])
    (pick,) = picks(model, [task])
    slope, offset = content["calibration"][task.kind]
    return logistic(slope * pick.score + offset), pick.right, pick.declined


def least_confidence(content: dict[str, Any], kind: str, risk: float) -> float:
    """The confidence that a risk asks for."""
    return next((row[1] for row in reversed(content["thresholds"][kind]) if row[0] <= risk), NEVER)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """A share's interval of 95 %."""
    if not whole:
        return 0.0, 1.0
    z, share = 1.96, part / whole
    middle, width = share + z * z / (2 * whole), z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return max(0.0, (middle - width) / (1 + z * z / whole)), min(1.0, (middle + width) / (1 + z * z / whole))


def error_of(stated: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error in ten bins."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for confidence, right in stated:
        bins[min(_BINS - 1, int(confidence * _BINS))].append((confidence, right))
    return sum(abs(sum(c for c, _ in some) - sum(right for _, right in some)) for some in bins) / max(1, len(stated))


def check(content: dict[str, Any], tasks: Sequence[TaskSeen]) -> list[str]:
    """How the judgement does on tasks that had no part in it, in lines."""
    lines = []
    for kind in KINDS:
        decisions = [decided(content, task) for task in tasks if task.kind == kind]
        error = error_of([(confidence, right) for confidence, right, _ in decisions])
        lines.append(
            f"{kind} examples: {len(decisions)} tasks, {sum(right for _, right, _ in decisions)} best drafts right,"
            f" calibration error {error:.3f}"
        )
        for risk in (0.01, 0.05, 0.1, 0.2, 0.5):
            least = least_confidence(content, kind, risk)
            installed = [right for confidence, right, declined in decisions if confidence >= least and not declined]
            wrong, (_, high) = len(installed) - sum(installed), wilson(len(installed) - sum(installed), len(installed))
            from_on = f"{least:.3f}" if least <= 1 else "never"
            wrong_share = "" if not installed else f", {wrong / len(installed):.1%} wrong (at most {high:.1%})"
            lines.append(f"  risk {risk:<4g} from {from_on}: {len(installed)} installed{wrong_share}")
    return lines


def write(content: dict[str, Any], file: Path) -> None:
    """The file, whole or not at all."""
    rounded = json.loads(json.dumps(content), parse_float=lambda text: round(float(text), 10))
    descriptor, scratch = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}")
    with os.fdopen(descriptor, "w") as writer:
        writer.write(json.dumps(rounded, indent=1) + "\n")
    Path(scratch).chmod(0o644)
    Path(scratch).replace(file)


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Fit how the image judges drafts, on reports of batos eval.")
    parser.add_argument("reports", nargs="+", type=Path, help="reports of `batos eval … --out REPORT`")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, such as decision.json beside the adapter")
    parser.add_argument("--check", nargs="+", type=Path, default=[], help="fresh reports on which the promise is checked")
    options = parser.parse_args(arguments)
    try:
        tasks, fresh = ([task for path in paths for task in _read(path)] for paths in (options.reports, options.check))
        if not fresh:
            tasks, fresh = [task for task in tasks if part_of(task, 7)], [task for task in tasks if not part_of(task, 7)]
        content = judgement(tasks)
        content["fitted"]["reports"] = [path.name for path in options.reports]
        write(content, options.out)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}; reports are those that `batos eval … --out` writes\n")
        return 1
    weights = sorted(content["weights"].items(), key=lambda pair: -abs(pair[1]))
    say("".join(f"{name:>12} {value:+.3f}\n" for name, value in weights))
    shown = "; ".join(f"{kind} examples {', '.join(map(str, risks)) or 'none'}" for kind, risks in content["fitted"]["shown"].items())
    say(f"fitted on {len(tasks)} tasks, which show the risks: {shown}. Checked on {len(fresh)} others:\n")
    say("".join(f"{line}\n" for line in check(content, fresh)))
    return 0


def _read(path: Path) -> list[TaskSeen]:
    tasks = tasks_of(json.loads(path.read_text()))
    if not tasks:
        raise ValueError(f"{path} has no task with judged drafts that have features")
    return tasks


if __name__ == "__main__":
    raise SystemExit(main())
