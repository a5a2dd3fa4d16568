"""Which methods of the image the kernel sends: its policy, which is in the image and may be replaced by anything. Names alone."""

from typing import Final

HANDLER: Final = "doesNotUnderstand_"
MIND: Final = "reflectOn_"
CHOICE: Final = "chooseFrom_"

LASTING: Final = frozenset({HANDLER, MIND, "personasFor_", CHOICE})
"""Policy methods: on a primordial object another one may take their place, but none may be missing, nor stand behind data."""
