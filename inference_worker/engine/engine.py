"""The interface behind which text is made: one engine holds one base model, for as long as it lives.

The worker's event loop calls all of it. `VllmEngine` is the real one, `EndpointEngine` asks a server elsewhere, `FakeEngine`
answers by rules; one conformance suite runs over all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from msgspec import Struct

from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.protocol import Generate, Output

Emit = Callable[[int, str], None]
"""Takes the index of an output and its new text; called in the event loop as the text is written."""


class Generated(Struct, frozen=True):
    """The outputs of one request, in the order of its samplings.

    `mode`, `endpoint`, `endpoint_model`: who wrote them, and how (see protocol.Completed).
    """

    outputs: list[Output]
    prompt_tokens: int
    mode: str = "base"
    endpoint: str = ""
    endpoint_model: str = ""


class Engine(ABC):
    """One engine. `start` comes first; after `stop`, or once EngineDied was raised, only `stop` may be called.

    `step`: what the start does, in words for who waits for it; any thread may read it.
    """

    step = ""

    @abstractmethod
    async def start(self, model: BaseModel) -> None:
        """Load the model. Raises EngineStartFailed; then nothing is left running. LibrariesFailed: nor can any be started here."""

    @abstractmethod
    async def read(self, adapter: Adapter) -> int:
        """Cold → warm: parse the adapter into the engine's RAM while requests go on; returns its bytes there.

        Raises BadAdapter when the engine refuses it, EngineDied.
        """

    @abstractmethod
    async def commit(self, adapter: Adapter) -> None:
        """Warm → hot: copy the parsed adapter into a free slot, between two steps. Evicts nothing.

        Raises BadAdapter when it is not warm or no slot is free, EngineDied.
        """

    @abstractmethod
    async def retire(self, adapter: Adapter) -> None:
        """Hot → warm: free the slot of an adapter that no request uses. Raises EngineDied."""

    @abstractmethod
    async def drop(self, adapter: Adapter) -> None:
        """Warm → cold: forget an adapter that is in no slot. Raises EngineDied."""

    @abstractmethod
    async def generate(self, request: Generate, adapter: Adapter | None, emit: Emit) -> Generated:
        """All outputs of one request, whose adapter is hot; cancelling the task ends them in the engine too.

        Raises BadRequest (the prompt does not fit), BadGrammar, EndpointFailed (this request alone), EngineDied.
        """

    @abstractmethod
    async def probe(self) -> None:
        """Ask the engine's processes something that only they can answer. The caller sets the deadline.

        Raises EngineDied, or EndpointFailed when they live and did not answer.
        """

    @abstractmethod
    async def died(self) -> str:
        """Returns, with the reason, when the engine's processes are gone; until then it waits."""

    @abstractmethod
    async def stop(self) -> None:
        """End the engine and its processes, in whatever state it is. Never raises for a dead one."""
