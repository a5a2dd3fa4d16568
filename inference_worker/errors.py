"""What can go wrong with a request, by type: `type` is that of the RequestFailed that its client gets, a class's name
unless it says another."""


class InferenceFailure(Exception):
    """A request that is not answered with text. The message names the object, what was seen and the remedy."""

    @property
    def type(self) -> str:
        return type(self).__name__


class BadRequest(InferenceFailure):
    """The frame is no message of the protocol, or asks for what the model cannot do."""


class UnknownModel(InferenceFailure):
    """No model of this digest lies in the home."""


class BadAdapter(InferenceFailure):
    """The adapter is missing, damaged, made for another model, or uses what the engine has not."""


class BadGrammar(InferenceFailure):
    """The grammar cannot be compiled."""


class RequestTimedOut(InferenceFailure):
    """The request took longer than it was allowed."""

    @property
    def type(self) -> str:
        return "DeadlineExceeded"


class Cancelled(InferenceFailure):
    """The client took its request back."""


class EngineDied(InferenceFailure):
    """The engine's processes ended under the request, twice if it was retried."""


class EngineStartFailed(InferenceFailure):
    """The engine could not be started for this model."""


class LibrariesFailed(EngineStartFailed):
    """The engine's libraries do not load, and what did load of them cannot be loaded twice: only another process can try again."""


class EndpointFailed(InferenceFailure):
    """The server that writes in place of an engine here failed under the request, and goes on for others as far as is known."""


class WorkerFault(InferenceFailure):
    """A fault of the worker itself."""


class Stopping(InferenceFailure):
    """The worker is being stopped and takes no more requests."""
