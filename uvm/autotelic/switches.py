"""What must be switched on before anything is trained. Called within a transaction: by the heartbeat, and by UVMs for who gives lessons.

There are two switches. The configuration's says whether a forge runs with the service; the heartbeat, which reads it, writes it into slot
`forge` of `autotelic_obj`, so that everybody who has the image knows. The policy's, in the image, says whether it is given orders.
"""

from typing import Final

from uvm.autotelic import policy
from uvm.image import views
from uvm.image.image import Image

SLOT: Final = "forge"
PROCESS: Final = "`process = true` in the section [forge] of batos.toml, then `batos down` and `batos up`"
POLICY: Final = "`batos send autotelic_obj setSlot_value_ policy '{\"enabled\": true}'`"


def note(image: Image, runs: bool) -> None:
    """Write down whether a forge runs with the service."""
    loop = image.named(policy.NAME)
    if loop.own(SLOT) is not runs:
        loop.put(SLOT, runs)


def missing(image: Image) -> list[str]:
    """What has to be done before lessons are learned; nothing: they are. Raises NoSuchObject."""
    loop = image.named(policy.NAME)
    enabled = policy.read(views.slot(loop, policy.SLOT, dict, {}))[0].enabled
    return [*([] if loop.own(SLOT) is True else [PROCESS]), *([] if enabled else [POLICY])]
