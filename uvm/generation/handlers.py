"""How instructions are carried out: which function does which of them. Types only."""

from collections.abc import Callable
from typing import Any

from uvm.generation.events import GenerationEvent
from uvm.generation.instructions import GenerationInstruction

Handlers = dict[type[GenerationInstruction], Callable[[Any], GenerationEvent | None]]
"""For each type of instruction the function that carries it out; it answers with the event that came of it, if that is known at once."""
Happened = Callable[[GenerationEvent], None]
"""Called with what comes of an instruction later."""
