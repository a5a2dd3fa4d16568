"""The window, run for real without a screen, over a scripted image: `python -m tests.ui_client.window.window_run SCENARIO SCREENSHOT`.

Run by test_window in a process of its own, because Kivy owns its process. Prints one JSON line: what was shown, what was
clicked, which messages arrived at the image.
"""

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ui_client.client.errors import BridgeUnreachable, RemoteError
from ui_client.window import environment as window_environment
from uvm.protocol import Change, Example, ObjectState, Reference, State, StateUpdate

GENESIS = Reference.parse("@1")
CART = Reference.parse("@2")
LOOP, SERIES, MINUTES = map(Reference.parse, ("@3", "@4", "@5"))
DEADLINE_S = 20.0


def tid(number: int) -> bytes:
    return number.to_bytes(8, "big")


class ScriptedImage:
    """An image with two objects, whose genesis_obj has a face with live values; every thread's client is this one."""

    def __init__(self, *, has_face: bool = True, has_loop: bool = False) -> None:
        self.sent: list[list[Any]] = []
        self.examples: list[list[Any]] = []
        self.clones = 0
        self.has_face = has_face
        self.has_loop = has_loop
        self.reachable = True
        self.published: list[StateUpdate] = []
        self.changed = threading.Condition()

    def send(
        self,
        target: Reference | str,
        selector: str,
        *args: Any,
        deadline: float | None = None,
        examples: Sequence[Example] = (),
        risk: float | None = None,
    ) -> Any:
        if selector == "mirror_":
            return self.has_face
        if selector == "display_yourself":
            return self._face()
        self.sent.append([str(target), selector, *args])
        if selector == "clone":
            with self.changed:
                self.clones += 1
                change = Change(reference=GENESIS, names=["genesis_obj"], slots={"clones": self.clones}, removed=[])
                self.published.append(StateUpdate(tid=tid(100 + self.clones), uvm="uvm-1", changes=[change]))
                self.changed.notify_all()
            return CART
        if selector == "add":
            return sum(args)
        if selector == "total_price":
            if examples:
                self.examples.append([examples[0].result, risk])
                return examples[0].result
            choices = [{"example": {"result": result, "changed": {}}, "drafts": 4} for result in (10.0, 12.5)]
            question = "total_price was not installed: it is not sure. total_price of this object: 10.0 or 12.5?"
            raise RemoteError("Refused", question, "say which with --example N", {"choices": choices})
        raise RemoteError("NotUnderstood", f"{selector} is not understood", "define it", {})

    def _face(self) -> dict[str, Any]:
        children = [
            {"morph": "label", "text": "genesis_obj"},
            {"morph": "field", "name": "clones", "value": self.clones, "target": GENESIS},
            {"morph": "button", "text": "clone", "selector": "clone", "target": GENESIS},
            {"morph": "list", "title": "objects", "values": [CART]},
            {"morph": "graph", "title": "entropy", "numbers": [1, 3, 2, 5]},
            {"morph": "row", "children": [{"morph": "label", "text": "left"}, {"morph": "label", "text": "[b]right[/b]"}]},
        ]
        return {"morph": "column", "children": children}

    def inspect(self, target: Reference | str) -> ObjectState:
        rows = [[60 * minute, 1, 9, None, None, None, None, 0.2 + 0.6 * (minute % 2)] for minute in range(20)]
        loop: dict[Any, tuple[list[str], dict[str, Any]]] = {
            LOOP: (["autotelic_obj"], {"series": SERIES}),
            SERIES: ([], {"minutes": MINUTES}),
            MINUTES: ([], {"rows": [*rows, [1200, 1, 0, None, None, None, None, None], 7]}),
        }
        if target in loop:
            names, slots = loop[target]
            return ObjectState(reference=target, names=names, slots=slots, parents=[GENESIS], methods={})
        return ObjectState(reference=CART, names=["cart"], slots={"price": 3.5}, parents=[GENESIS], methods={"total": GENESIS})

    def full_state(self) -> State:
        genesis = ObjectState(reference=GENESIS, names=["genesis_obj"], slots={"clones": self.clones}, parents=[], methods={})
        objects = [genesis, self.inspect(CART), *([self.inspect(LOOP)] if self.has_loop else [])]
        return State(id=1, tid=tid(100 + self.clones), objects=objects, after=b"")

    def events(self, topics: Sequence[str] = (), stop: threading.Event | None = None, *, missed: bool = False) -> Iterator[Any]:
        delivered = 0
        while not (stop and stop.is_set()):
            with self.changed:
                self.changed.wait_for(lambda delivered=delivered: len(self.published) > delivered, timeout=0.1)
                new = self.published[delivered:]
            delivered += len(new)
            yield from new

    def status(self) -> dict[str, Any]:
        if not self.reachable:
            raise BridgeUnreachable("nobody answers")
        return {"uvms": [{"name": "uvm-1"}, {"name": "uvm-2"}]}

    def close(self) -> None:
        return


def main() -> None:
    """Play one scenario: a list of steps, each waiting until what it needs is shown."""
    scenario, screenshot = sys.argv[1], Path(sys.argv[2])
    window_environment.prepare(Path(tempfile.mkdtemp()) / "kivy", offscreen=True)
    image = ScriptedImage(has_face=scenario not in ("faceless", "entropy"), has_loop=scenario == "entropy")
    from kivy.clock import Clock
    from kivy.core.window import Window
    from kivy.tests.common import UnitTestTouch

    from ui_client.window import app as window

    app = window.build(lambda: image)
    record: dict[str, Any] = {}

    def texts(root: Any = None) -> list[str]:
        return [widget.text for widget in (root or app.root).walk() if getattr(widget, "text", "")]

    def click(text: str) -> None:
        # A real touch in the middle of the button that shows this text, through the window's own dispatching.
        widget = next(
            candidate for candidate in app.root.walk() if getattr(candidate, "text", "") == text and hasattr(candidate, "on_release")
        )
        touch = UnitTestTouch(*widget.to_window(*widget.center))
        touch.touch_down()
        touch.touch_up()

    def type_and_enter(text: str) -> None:
        app.root.message.text = text
        app.root.message.dispatch("on_text_validate")

    def note(key: str) -> None:
        record[key] = {"texts": texts(), "status": app.root.status.text, "reply": app.root.reply.text}

    def lose() -> None:
        image.reachable = False

    def drawn() -> None:
        # A widget that has just been put there has its place after the next frame.
        Clock.schedule_once(lambda _: Clock.schedule_once(lambda _: record.update(frames=2)))

    steps: dict[str, list[tuple[Callable[[], bool], Callable[[], None]]]] = {
        "face": [
            (lambda: "clones" in texts(), lambda: (note("before"), click("clone"))),
            (lambda: "1" in texts() and app.root.reply.text.endswith("cart"), lambda: (note("after"), click("cart  (1)"))),
            (lambda: "total" in " ".join(texts(app.root.inspector)), lambda: note("inspected")),
        ],
        "message": [
            (lambda: "connected" in app.root.status.text, lambda: type_and_enter("cart add 3 4")),
            (lambda: app.root.reply.text.endswith("7"), lambda: (note("reply"), type_and_enter("cart fly '[b]x[/b]'"))),
            (lambda: "NotUnderstood" in app.root.reply.text, lambda: (note("error"), type_and_enter("cart"))),
            (lambda: "TARGET" in app.root.reply.text, lambda: note("usage")),
        ],
        "asked": [
            (lambda: "connected" in app.root.status.text, lambda: type_and_enter("cart total_price")),
            (lambda: "10.0 or 12.5?" in app.root.reply.text and "12.5" in texts(app.root.answers), lambda: (note("asked"), drawn())),
            (lambda: record.get("frames", 0) > 1, lambda: click("12.5")),
            (lambda: app.root.reply.text.endswith("\n12.5"), lambda: note("answered")),
        ],
        "faceless": [(lambda: "does not understand" in " ".join(texts()), lambda: note("faceless"))],
        "entropy": [
            (lambda: "autotelic_obj  (1)" in texts(), lambda: click("autotelic_obj  (1)")),
            (lambda: "Entropy Metric" in " ".join(texts(app.root.inspector)), lambda: (note("entropy"), drawn())),
            (lambda: record.get("frames", 0) > 1, lambda: None),
        ],
        "lost": [
            (lambda: app.root.status.text.startswith("connected"), lose),
            (lambda: app.root.status.text.startswith("reconnecting"), lambda: (note("lost"), setattr(image, "reachable", True))),
            (lambda: app.root.status.text.startswith("connected"), lambda: note("again")),
        ],
    }
    plan = steps[scenario]

    def advance(_: float) -> None:
        if plan and plan[0][0]():
            plan.pop(0)[1]()
        elif not plan:
            Clock.unschedule(advance)
            # Two frames later everything that was shown last is drawn.
            Clock.schedule_once(lambda _: Clock.schedule_once(shoot))

    def shoot(_: float) -> None:
        Path(Window.screenshot(name=str(screenshot))).replace(screenshot)
        app.stop()

    def give_up(_: float) -> None:
        record["stuck"] = {"at": len(steps[scenario]) - len(plan), "texts": texts()}
        app.stop()

    Clock.schedule_interval(advance, 0.05)
    Clock.schedule_once(give_up, DEADLINE_S)
    app.run()
    record |= {"title": app.get_application_name(), "sent": image.sent, "examples": image.examples}
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
    # Daemon threads of the session may still wait; the process has nothing more to say.
    os._exit(0)


if __name__ == "__main__":
    main()
