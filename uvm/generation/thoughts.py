"""What methods ask the model (`infer_`), in service and in trials: asked in the voice of the persona that they asked.

Owned by the UVM's main thread.
"""

from collections.abc import Callable

from msgspec.structs import replace

from inference_worker.protocol import Completed, RequestFailed
from uvm.generation.drafting import Materialize, voice_of
from uvm.generation.questions import Asked, thought_request
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.inference.client import InferenceClient


class Thoughts:
    """Asks the model for methods."""

    def __init__(self, image: Image, transactor: Transactor, inference: InferenceClient, materialize: Materialize) -> None:
        self._image = image
        self._transactor = transactor
        self._inference = inference
        self._materialize = materialize

    def ask(
        self,
        thought: Asked,
        persona: bytes,
        *,
        question: str,
        session: str,
        seconds: float,
        done: Callable[[Completed | RequestFailed], None],
    ) -> None:
        """Ask; `done` is called once, at the latest after `seconds`. Raises NoModel and the like where the persona has no voice."""
        voice = self._transactor.look(lambda: voice_of(self._image, persona, self._materialize))
        generate = replace(thought_request(voice, thought, question, session), deadline_ms=int(seconds * 1000))
        self._inference.ask(generate, seconds, done)
