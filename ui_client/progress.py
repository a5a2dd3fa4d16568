"""Generation progress on stderr while a message waits for its method. Used by commands that send.

`following` listens on a thread of its own, which also prints; the command's thread does nothing but wait for its reply.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ui_client import values
from ui_client.client.client import Client
from ui_client.client.errors import ClientError, RemoteError
from ui_client.report import err
from ui_client.story import Line, Story
from uvm.protocol import Progress

_LAST_WORDS_S = 3.0
"""How long after the reply the end of a story that has begun is waited for."""
_QUIET_S = 0.15
"""How long after a slow reply its first event is waited for."""
_SLOW_S = 0.1
_SUBSCRIBED_S = 0.25
"""How long the subscription is waited for before the message is sent, so that the first steps are heard."""
_STYLES = {"installed": "green", "refused": "red"}


class _Teller:
    """Prints lines as they come; on a terminal, the step that is being taken stays as a live line below them."""

    def __init__(self, story: Story, live: bool) -> None:
        self._story = story
        self._may_live = live and err.is_terminal
        self._live: Live | None = None

    def tell(self, line: Line | None) -> None:
        if self._may_live and self._story.unfinished:
            if self._live is None:
                self._live = Live(console=err, transient=True, refresh_per_second=8)
                self._live.start()
            self._live.update(Spinner("dots", text=Text(self._story.waiting_for(), style="dim")))
        if line:
            err.print(shown(line), soft_wrap=True)
        if not self._story.unfinished:
            self.end()

    def end(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None


def shown(line: Line) -> Text:
    """`✓ drafted  total_price  4 drafts  3.2 s`."""
    mark = "✗" if line.stage in ("refused", "failed") else "✓"
    text = Text(f"  {mark} ", style=_STYLES.get(line.stage, "cyan")).append(f"{line.stage:<10}", style="bold default")
    text.append(values.showable(line.selector), style="default")
    if line.detail:
        text.append(f"  {line.detail}", style="dim")
    return text.append(f"  {line.at:.1f} s", style="dim")


@contextmanager
def following(client: Client, selector: str, live: bool = True) -> Iterator[Story]:
    """Print the steps of every method that messages of `client` wait for; the story is complete when the block is left.

    `live` False: no line that moves, because the caller has one of its own.
    """
    story = Story(selector)
    teller = _Teller(story, live)
    changed = threading.Condition()
    ended = threading.Event()
    subscribed = threading.Event()

    def listen() -> None:
        try:
            with client.events(("progress",), stop=ended) as events:
                subscribed.set()
                for event in events:
                    if isinstance(event, Progress):
                        with changed:
                            teller.tell(story.add(event, time.monotonic()))
                            changed.notify_all()
        except ClientError:
            # Progress is a courtesy: the reply, or its error, is what the command reports.
            return

    listener = threading.Thread(target=listen, name="progress", daemon=True)
    listener.start()
    subscribed.wait(_SUBSCRIBED_S)
    began = time.monotonic()

    def hear_the_end(refused: bool = False) -> None:
        # The reply and the events come on different connections: the last events may be a moment behind it.
        with changed:
            if refused or time.monotonic() - began > _SLOW_S:
                changed.wait_for(lambda: bool(story.lines), timeout=_QUIET_S)
            changed.wait_for(lambda: not story.unfinished, timeout=_LAST_WORDS_S)

    try:
        yield story
        hear_the_end()
    except ClientError as error:
        # Who is refused at once has a story all the same, unless the refusal is an old one.
        hear_the_end(isinstance(error, RemoteError) and error.type == "Refused" and subscribed.is_set())
        raise
    finally:
        ended.set()
        listener.join(_LAST_WORDS_S)
        with changed:
            teller.end()
