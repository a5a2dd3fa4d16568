"""What a need that came out of a trial wants: the message is run once on the image, changes nothing, and its miss is kept."""

import time
from typing import Any

from deploy.settings import UvmSettings
from uvm.errors import AttemptEnded, ImageError
from uvm.generation.request import Want, missing
from uvm.image.image import Image
from uvm.runtime.attempt import Attempt, Miss
from uvm.runtime.runtime import Runtime
from uvm.values.crossing import from_wire


def probe(image: Image, runtime: Runtime, settings: UvmSettings, need: Any) -> Want | str:
    """The Want of a needed message, or why there is none. Inside a transaction that is aborted afterwards."""
    attempt = Attempt(ticks=settings.ticks, seconds=settings.message_limit_s, writable=False)
    try:
        receiver = image.at(need.receiver)
        args = tuple(from_wire(value, image.at) for value in need.args)
        kwargs = {name: from_wire(value, image.at) for name, value in need.kwargs.items()}
        runtime.run(attempt, receiver, need.selector, args, kwargs)
    except Miss as miss:
        return missing(image, attempt, miss, time.time())
    except (ImageError, AttemptEnded) as error:
        return f"{need.selector}: {error.message}"
    finally:
        attempt.forget_changes()
    return f"{need.selector} is understood by now"
