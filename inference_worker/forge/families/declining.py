"""Messages that the slots give no ground for: the author says that it does not know."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method
from inference_worker.forge.standin import BodyDeclined


def _declines(s: values.Slots, *args: object) -> None:
    raise BodyDeclined("nothing to go by")


def missing(d: Draw) -> Method:
    """A quantity of which no slot tells."""
    word = d.noun(words.SERIES + words.MONEY + words.THINGS, 0)
    d.crowded = max(d.crowded, 0.25)
    if d.rng.random() < 0.5:
        d.slot(d.noun(words.TEXTS, 0), values.short_text)
    selector = d.say(
        f"total_{word}",
        f"average_{word}",
        f"longest_{word}",
        f"sorted_{words.plural(word)}",
        f"get_{word}",
        f"highest_{word}",
        f"count_{words.plural(word)}",
        f"{word}_per_day",
        f"last_{word}",
        f"describe_{word}",
        f"increment_{word}",
        f"has_{word}",
        f"{word}_in_percent",
    )
    return Method(selector, f'decline("no slot for {word}")', _declines)


_BEYOND = (
    "send_email",
    "fetch_weather",
    "download_page",
    "open_file",
    "read_file",
    "save_to_disk",
    "run_command",
    "call_server",
    "browse_web",
    "print_on_paper",
    "play_sound",
    "take_photo",
    "delete_files",
    "restart_computer",
    "connect_to_database",
    "post_to_forum",
    "scan_network",
    "record_video",
    "launch_program",
    "upload_backup",
    "translate_to_french",
    "predict_future",
    "paint_portrait",
    "phone_home",
)


def beyond(d: Draw) -> Method:
    """What no method can do."""
    d.crowded = max(d.crowded, 0.25)
    d.slot(d.noun(words.TEXTS + words.LEVELS, 0), values.short_text)
    if d.rng.random() < 0.4:
        d.arg("target", values.word)
    return Method(d.say(d.rng.choice(_BEYOND)), 'decline("a method cannot reach outside")', _declines)


FAMILIES = (missing, beyond)
