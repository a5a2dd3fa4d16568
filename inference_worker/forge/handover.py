"""What the forge hands over to a program that it starts: the home as an argument, and on stdin the settings that concern it, as JSON.

Such a program is confined like the forge from its first moment, so that it cannot read the configuration's file; and the keys that stand
there are none of its business.
"""

import sys
from pathlib import Path

import msgspec

from deploy.home import Home
from deploy.settings import Configuration, InferenceSettings, Settings


def handed(settings: Settings) -> bytes:
    """The settings that concern what trains and what examines."""
    inference = InferenceSettings(max_lora_rank=settings.inference.max_lora_rank)
    return msgspec.json.encode(Settings(inference=inference, forge=settings.forge, confinement=settings.confinement, logs=settings.logs))


def received() -> tuple[Configuration, str]:
    """The configuration of this program, `HOME ORDER` on its command line, and the order's id. Raises msgspec.DecodeError."""
    home, order = sys.argv[1:]
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    return Configuration(Home(Path(home)), settings, {}), order
