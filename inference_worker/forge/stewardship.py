"""What the forge does next with an order. Pure: no clock, no process, no file; `__main__` carries it out."""

from typing import Literal

from msgspec import Struct

from deploy.orders import OrderReport

TRIES = 5
"""Times that a program of one order is started again after it was killed, before the order counts as failed."""

Program = Literal["apprentice", "examiner"]
Action = Literal["start", "pause", "go on", "end", "wait", "fail", "cancel", "nothing"]


class Child(Struct, frozen=True):
    """The program that runs, or has just ended. `status`: its exit status, negative: the signal; `tries`: how often it was started."""

    program: Program
    stopped: bool = False
    status: int | None = None
    tries: int = 1
    too_long: bool = False


class NextAction(Struct, frozen=True):
    """`program` where one is to be started, `why` where the order fails."""

    action: Action
    program: Program = "apprentice"
    why: str = ""


def step(report: OrderReport | None, child: Child | None, *, busy: bool, cancelled: bool) -> NextAction:
    """The next step for the oldest order that has not ended; `busy`: somebody waits for the model."""
    running = child is not None and child.status is None
    if cancelled:
        return NextAction("end" if running else "cancel")
    if child is not None and child.status is None:
        if child.too_long:
            return NextAction("fail", why="it took too long (forge.longest_s)")
        if busy != child.stopped:
            return NextAction("pause" if busy else "go on")
        return NextAction("wait")
    if report is not None and report.ended:
        return NextAction("nothing")
    if busy:
        return NextAction("wait")
    wanted: Program = "examiner" if report is not None and report.state == "examining" else "apprentice"
    if child is not None and child.status != 0 and child.program == wanted:
        if (child.status or 0) > 0:  # it said in its log what is wrong, and would say so again
            return NextAction("fail", why=f"the {wanted} ended with status {child.status}; batos logs forge says why")
        if child.tries >= TRIES:
            return NextAction("fail", why=f"the {wanted} was killed {child.tries} times")
    return NextAction("start", wanted)
