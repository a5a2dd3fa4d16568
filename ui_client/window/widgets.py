"""Morphs as Kivy widgets. Used by the window's main thread alone.

A widget that shows a morph can take a new one of the same kind (`take`), so that a face that changes keeps its widgets,
and a button that is being pressed stays the one that is pressed. No text of the image is read as markup or kv.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

from kivy.core.image import Image as CoreImage
from kivy.graphics import Color, Line, Rectangle
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.button import Button as KivyButton
from kivy.uix.label import Label as KivyLabel
from kivy.uix.widget import Widget

from ui_client import values
from ui_client.morphs import Button, Column, Field, Graph, Items, Label, Morph, Picture, Row
from uvm.protocol import Reference

LINE = 26
"""Height of one line of text, pixels."""
_GRAPH_HEIGHT = 80
_ITEMS_SHOWN = 100
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PIXELS = 16_000_000

Press = Callable[[Button], None]
Names = Mapping[Reference, str]


class Text(KivyLabel):
    """Text that wraps to its width and is as high as it needs."""

    def __init__(self, text: str = "", **options: Any) -> None:
        super().__init__(text=text, halign="left", valign="middle", size_hint_y=None, height=LINE, **options)
        self.bind(width=lambda widget, width: setattr(widget, "text_size", (width, None)))
        self.bind(texture_size=lambda widget, size: setattr(widget, "height", max(LINE, size[1])))


class _Box(BoxLayout):
    """A box that is as high as its children, and takes morphs one for one."""

    def __init__(self, orientation: str, **options: Any) -> None:
        super().__init__(orientation=orientation, size_hint_y=None, spacing=4, **options)
        self.bind(minimum_height=self.setter("height"))


def widget_for(morph: Morph, press: Press, names: Names) -> Widget:
    """A new widget that shows `morph`; its buttons call `press`."""
    widget: Widget = _KINDS[type(morph)](press)
    widget.take(morph, names)
    return widget


def _fill(box: BoxLayout, morphs: list[Morph], press: Press, names: Names) -> None:
    present = list(reversed(box.children))
    if [type(child) for child in present] == [_KINDS[type(morph)] for morph in morphs]:
        for child, morph in zip(present, morphs, strict=True):
            child.take(morph, names)
        return
    box.clear_widgets()
    for morph in morphs:
        box.add_widget(widget_for(morph, press, names))


class ColumnWidget(_Box):
    def __init__(self, press: Press) -> None:
        super().__init__("vertical")
        self._press = press

    def take(self, morph: Column, names: Names) -> None:
        _fill(self, morph.children, self._press, names)


class RowWidget(_Box):
    def __init__(self, press: Press) -> None:
        super().__init__("horizontal")
        self._press = press

    def take(self, morph: Row, names: Names) -> None:
        _fill(self, morph.children, self._press, names)


class LabelWidget(Text):
    def __init__(self, press: Press) -> None:
        super().__init__(bold=True)

    def take(self, morph: Label, names: Names) -> None:
        self.text = values.showable(morph.text)


class FieldWidget(_Box):
    def __init__(self, press: Press) -> None:
        super().__init__("horizontal")
        self._name = Text(color=(0.6, 0.7, 0.8, 1), size_hint_x=0.3)
        self._value = Text(size_hint_x=0.7)
        self.add_widget(self._name)
        self.add_widget(self._value)

    def take(self, morph: Field, names: Names) -> None:
        self._name.text = values.showable(morph.name)
        self._value.text = values.show(morph.value, names)


class ButtonWidget(KivyButton):
    def __init__(self, press: Press) -> None:
        super().__init__(size_hint_y=None, height=LINE + 8)
        self._morph: Button | None = None
        self.bind(on_release=lambda _: self._morph and press(self._morph))

    def take(self, morph: Button, names: Names) -> None:
        self._morph = morph
        self.text = values.showable(morph.text)


class ItemsWidget(_Box):
    def __init__(self, press: Press) -> None:
        super().__init__("vertical")

    def take(self, morph: Items, names: Names) -> None:
        lines = [values.showable(morph.title)] if morph.title else []
        lines += [f"•  {values.show(value, names)}" for value in morph.values[:_ITEMS_SHOWN]]
        if len(morph.values) > _ITEMS_SHOWN:
            lines.append(f"… and {len(morph.values) - _ITEMS_SHOWN} more")
        while len(self.children) > len(lines):
            self.remove_widget(self.children[0])
        while len(self.children) < len(lines):
            self.add_widget(Text())
        for widget, line in zip(reversed(self.children), lines, strict=True):
            widget.text = line


class GraphWidget(_Box):
    def __init__(self, press: Press) -> None:
        super().__init__("vertical")
        self._title = Text()
        self._plot = Widget(size_hint_y=None, height=_GRAPH_HEIGHT)
        self._numbers: list[float] = []
        self.add_widget(self._title)
        self.add_widget(self._plot)
        self._plot.bind(pos=self._draw, size=self._draw)

    def take(self, morph: Graph, names: Names) -> None:
        self._title.text = values.showable(morph.title)
        self._numbers = [number for number in morph.numbers if abs(number) < 1e300]
        self._draw()

    def _draw(self, *_: object) -> None:
        self._plot.canvas.clear()
        if len(self._numbers) < 2:
            return
        low, high = min(self._numbers), max(self._numbers)
        across = self._plot.width / (len(self._numbers) - 1)
        up = (self._plot.height - 4) / ((high - low) or 1)
        points = [c for n, value in enumerate(self._numbers) for c in (self._plot.x + n * across, self._plot.y + 2 + (value - low) * up)]
        with self._plot.canvas:
            Color(0.4, 0.8, 0.6)
            Line(points=points, width=1.2)


class ImageWidget(_Box):
    def __init__(self, press: Press) -> None:
        super().__init__("vertical")
        self._caption = Text()
        self._picture = Widget(size_hint=(None, None))
        self._png = b""
        self.add_widget(self._picture)
        self.add_widget(self._caption)
        self._picture.bind(pos=self._draw, size=self._draw)

    def take(self, morph: Picture, names: Names) -> None:
        self._caption.text = values.showable(morph.caption)
        self._png = morph.png if _is_small_png(morph.png) else b""
        self._picture.size = (morph.width, morph.height) if self._png else (0, 0)
        self._draw()

    def _draw(self, *_: object) -> None:
        self._picture.canvas.clear()
        if not self._png:
            return
        try:
            texture = CoreImage(io.BytesIO(self._png), ext="png").texture
        except Exception as error:  # noqa: BLE001  # what the platforms' decoders raise for broken bytes has no common class
            self._png = b""
            self._caption.text = f"(this image cannot be decoded: {error})"
            return
        with self._picture.canvas:
            Rectangle(texture=texture, pos=self._picture.pos, size=self._picture.size)


def _is_small_png(octets: bytes) -> bool:
    # The size is read from the header before a decoder sees the bytes: a small file can hold a huge picture.
    if len(octets) < 24 or not octets.startswith(_PNG_SIGNATURE) or octets[12:16] != b"IHDR":
        return False
    width, height = int.from_bytes(octets[16:20]), int.from_bytes(octets[20:24])
    return 0 < width * height <= _MAX_PIXELS


_KINDS: dict[type[Any], Any] = {
    Column: ColumnWidget,
    Row: RowWidget,
    Label: LabelWidget,
    Field: FieldWidget,
    Button: ButtonWidget,
    Items: ItemsWidget,
    Graph: GraphWidget,
    Picture: ImageWidget,
}
