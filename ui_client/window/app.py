"""The Kivy window "BAT OS Entropic UI". Run by `batos ui`; everything here belongs to the main thread.

`build` makes the application around a way to connect, without running it, so that tests can drive it. The window shows
`window_model.View`, hands what happens to `window_model.step`, and lets `window_session.Session` do the talking.

Importing this module imports Kivy, which reads its environment then: `prepare` must have been called before.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.app import App
from kivy.clock import Clock
from kivy.core.window import Window
from kivy.properties import ObjectProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.button import Button as KivyButton
from kivy.uix.recycleboxlayout import RecycleBoxLayout
from kivy.uix.recycleview import RecycleView
from kivy.uix.scrollview import ScrollView
from kivy.uix.textinput import TextInput

from ui_client import values
from ui_client.morphs import Button, Label, Morph
from ui_client.window import model as window_model
from ui_client.window.model import ClockTick, Event, Refusal, View
from ui_client.window.session import Session, Talker
from ui_client.window.widgets import LINE, Text, widget_for
from uvm.protocol import Reference

TITLE = "BAT OS Entropic UI"
_TICK_S = 0.25


class ObjectRow(KivyButton):
    """One line of the list of objects; the list reuses it for whatever is in view."""

    reference = ObjectProperty(None, allownone=True)
    pick = ObjectProperty(None, allownone=True)

    def on_release(self) -> None:
        if self.pick and self.reference:
            self.pick(self.reference)


class ObjectList(RecycleView):
    """The objects, by name; only the lines in view have widgets."""

    def __init__(self, pick: Callable[[Reference], None], **options: Any) -> None:
        super().__init__(**options)
        self._pick = pick
        lines = RecycleBoxLayout(
            orientation="vertical", size_hint_y=None, default_size=(None, LINE), default_size_hint=(1, None), spacing=1
        )
        lines.bind(minimum_height=lines.setter("height"))
        self.add_widget(lines)
        # After the layout, because the list keeps it there.
        self.viewclass = ObjectRow

    def show(self, rows: list[window_model.ListedObject]) -> None:
        self.data = [{"text": values.showable(row.title), "reference": row.reference, "pick": self._pick} for row in rows]


class Pane(ScrollView):
    """A morph tree that scrolls."""

    def __init__(self, press: Callable[[Button], None], **options: Any) -> None:
        super().__init__(**options)
        self._press = press
        self._shown: Morph | None = None

    def show(self, tree: Morph, names: dict[Reference, str]) -> None:
        if self.children and type(self._shown) is type(tree):
            self.children[0].take(tree, names)
        else:
            self.clear_widgets()
            self.add_widget(widget_for(tree, self._press, names))
        self._shown = tree


class Answers(BoxLayout):
    """A button for each behaviour that a refusal asks between; it takes no room where nothing is asked."""

    def __init__(self, answer: Callable[[int], None]) -> None:
        super().__init__(size_hint_y=None, height=0, spacing=6)
        self._answer = answer

    def show(self, texts: list[str]) -> None:
        self.clear_widgets()
        self.height = LINE + 10 if texts else 0
        if texts:
            self.add_widget(Text("right is:", size_hint_x=0.12))
        for number, text in enumerate(texts):
            # A button shows one line: what does not fit is cut at its right.
            button = KivyButton(text=values.showable(text), shorten=True, shorten_from="right", size_hint_y=None, height=LINE + 10)
            button.bind(width=lambda button, width: setattr(button, "text_size", (width - 8, None)))
            button.halign = "center"
            button.bind(on_release=lambda _, number=number: self._answer(number))
            self.add_widget(button)


class Desk(BoxLayout):
    """The whole window: status, objects, face, inspector, reply, the answers to what a refusal asks back, and message field."""

    def __init__(
        self,
        ask: Callable[[str], None],
        press: Callable[[Button], None],
        pick: Callable[[Reference], None],
        answer: Callable[[int], None],
    ) -> None:
        super().__init__(orientation="vertical", padding=8, spacing=6)
        self.status = Text(color=(0.6, 0.9, 0.7, 1))
        self.objects = ObjectList(pick, size_hint_x=0.26)
        self.face = Pane(press, size_hint_x=0.44)
        self.inspector = Pane(press, size_hint_x=0.3)
        self.reply = Text(color=(0.95, 0.9, 0.7, 1))
        self.message = TextInput(
            multiline=False, size_hint_y=None, height=LINE + 10, hint_text="TARGET SELECTOR ARGUMENTS…", write_tab=False
        )
        self.message.bind(on_text_validate=lambda field: ask(field.text))
        send = KivyButton(text="send", size_hint_x=0.12, size_hint_y=None, height=LINE + 10)
        send.bind(on_release=lambda _: ask(self.message.text))
        middle = BoxLayout(spacing=8)
        for pane in (self.objects, self.face, self.inspector):
            middle.add_widget(pane)
        replies = ScrollView(size_hint_y=0.22)
        replies.add_widget(self.reply)
        self.answers = Answers(answer)
        line = BoxLayout(size_hint_y=None, height=LINE + 10, spacing=6)
        line.add_widget(self.message)
        line.add_widget(send)
        for widget in (self.status, middle, replies, self.answers, line):
            self.add_widget(widget)

    def show(self, view: View, before: View | None) -> None:
        """Show what differs from `before`."""
        self.status.text = values.showable(view.status)
        if before is None or view.rows != before.rows:
            self.objects.show(view.in_order())
        if before is None or (view.face, view.face_note, view.names) != (before.face, before.face_note, before.names):
            self.face.show(view.face if view.face is not None else Label(view.face_note), view.names)
        if view.inspected is not None and (before is None or view.inspected != before.inspected):
            self.inspector.show(view.inspected, view.names)
        if before is None or view.reply != before.reply:
            self.reply.text = view.reply
        if before is None or view.question is not before.question:
            self.answers.show(window_model.answers(view))


class EntropicWindow(App):
    """The application: it owns the view, and the session with the image."""

    title = TITLE

    def __init__(self, connect: Callable[[], Talker], **options: Any) -> None:
        super().__init__(**options)
        self.view = View()
        self.session = Session(connect, self._from_thread)

    def build(self) -> Desk:
        Window.clearcolor = (0.09, 0.1, 0.12, 1)
        self.desk = Desk(self.ask, self.press, self.session.inspect, self.answer)
        self.desk.show(self.view, None)
        return self.desk

    def on_start(self) -> None:
        self.session.start()
        self.happen(ClockTick())
        Clock.schedule_interval(lambda _: self.happen(ClockTick()), _TICK_S)

    def on_stop(self) -> None:
        self.session.stop()

    def happen(self, event: Event) -> None:
        """Take an event in, show what changed, and ask what it leads to. Main thread only."""
        before = self.view
        self.view, instructions = window_model.step(before, event, time.monotonic())
        for instruction in instructions:
            self.session.carry_out(instruction)
        if self.view is not before:
            self.desk.show(self.view, before)

    def ask(self, text: str) -> None:
        """Send what the message field says."""
        try:
            target, selector, args = window_model.command(text)
        except values.BadArgument as error:
            self.happen(Refusal(text, str(error)))
            return
        self.session.send(target, selector, args, text)

    def press(self, button: Button) -> None:
        """Send what a button of the face says; without a target, to the object whose face it is."""
        target = button.target if button.target is not None else "genesis_obj"
        text = " ".join(values.show(word, self.view.names) for word in (target, button.selector, *button.args))
        self.session.send(target, button.selector, button.args, text)

    def answer(self, number: int) -> None:
        """Send the message again that a refusal asked back about, with the choice of this number as what it means."""
        question = self.view.question
        if question is not None and number < len(question.choices):
            words = (question.target, question.selector, *question.args)
            text = " ".join(values.show(word, self.view.names) for word in words)
            self.session.send(question.target, question.selector, question.args, text, question.choices[number])

    def _from_thread(self, event: Event) -> None:
        Clock.schedule_once(lambda _: self.happen(event))


def build(connect: Callable[[], Talker]) -> EntropicWindow:
    """The application, not yet running; `connect` is called once for each of its threads. `.run()` runs it until it is closed."""
    return EntropicWindow(connect)


def save_screenshot(app: EntropicWindow, file: Path, seconds: float) -> None:
    """Let a running `app` save what it shows after `seconds` as PNG, and end. To be called before `app.run()`."""

    def shoot(_: float) -> None:
        # Kivy puts a number into the name it is given, and says which.
        written = Window.screenshot(name=str(file.with_suffix(".png")))
        if written:
            Path(written).replace(file)
        app.stop()

    Clock.schedule_once(shoot, seconds)
