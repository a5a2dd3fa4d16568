"""What can go wrong with a message, by type. The name of a class is the `type` of the Error that a tool gets.

`ImageError` is an ordinary error: a method may catch it. `AttemptEnded` derives from BaseException, because it ends the
attempt for good and nothing that a method writes may catch it.
"""

from typing import Any, Final

LONGEST: Final = 2000
"""Longest text of an error, characters: what it quotes was not made by us."""


class ImageError(Exception):
    """A message that cannot be carried out. `remedy` says what the sender can do."""

    def __init__(self, message: str, remedy: str = "", /, **details: Any) -> None:
        message = message[:LONGEST]
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    @property
    def type(self) -> str:
        return type(self).__name__


class NoSuchObject(ImageError):
    """The target is no name and no object of the image."""


class DamagedRecord(ImageError):
    """The record of an object cannot be loaded: it names what the image does not store, or is broken; `details["object"]` says which."""


class NotUnderstood(ImageError):
    """Nothing in the parent chain has the selector, and nothing may write it here."""


class BadArguments(ImageError):
    """The selector exists, but not with these arguments."""


class BadValue(ImageError):
    """A value that a slot cannot hold or a reply cannot carry."""


class TooLarge(ImageError):
    """An answer that does not fit in a frame: `details["bytes"]` of `details["limit"]`."""


class NotAllowed(ImageError):
    """A change that enforcement forbids: the Codex, receipts, data in a written method's place, Python's internals."""


class ParentCycle(ImageError):
    """The change would make an object its own ancestor."""


class BadExample(ImageError):
    """An example that cannot be tried on the receiver, such as one that names a slot which is not there."""


class Contradiction(ImageError):
    """Two examples that no method can both satisfy; `details["examples"]` has them."""


class ExampleFailed(ImageError):
    """A message does not do what its example says, and what answers it is not the image's to write again; nothing was run."""


class BadPrompt(ImageError):
    """A text that no persona can be asked with, or a persona that is none; nothing changed."""


class BadJudgement(ImageError):
    """What came with an adapter, to judge its drafts with, cannot be used; nothing changed."""


class PreviewGone(ImageError):
    """What is accepted was not shown for this message, or too long ago."""


class PreviewOutdated(ImageError):
    """What is accepted was shown, and does not hold any more; `details["why"]` says why."""


class AuditRefused(ImageError):
    """The source is not in the language, or breaks the covenant; `details["findings"]` has the lines."""


class TrialFailed(ImageError):
    """The method did not survive its trial on copies of the real objects."""


class Refused(ImageError):
    """No draft of the missing method was good enough; `details["reasons"]` says why for each."""


class Revoked(ImageError):
    """An adapter or an author was asked for that is revoked; `details` says by whom, when and why."""


class GenerationOff(ImageError):
    """A method is missing, and this host or its configuration does not write methods."""


class ForgeOff(ImageError):
    """Lessons were given, and nobody would learn them: training is switched off; the remedy says where to switch it on."""


class GenerationBusy(ImageError):
    """As many methods are being written as may be at a time; nothing was begun."""


class MethodQuarantined(ImageError):
    """The method that the selector names was put out of use; `details["reason"]` says why."""


class MethodFailed(ImageError):
    """A method raised an error of its own."""


class Expired(ImageError):
    """The sequence number is below the acknowledged floor: its receipt is gone."""


class PayloadMismatch(ImageError):
    """The same session and sequence number arrived with another payload."""


class NotRecorded(ImageError):
    """No journal and no chronicle has what was asked for: it changed nothing, or its entry went when a journal was full."""


class UndoConflict(ImageError):
    """What a message did cannot be taken back, or not all of it; `details["conflicts"]` says slot by slot why."""


class KernelFault(ImageError):
    """A fault of ours, not of the message: the log of the UVM has the rest."""


class Contention(ImageError):
    """The message lost its object to others too often; nothing changed."""


class QuotaExceeded(ImageError):
    """More than one message may store, or than a record may hold."""


class NoSuchModel(ImageError):
    """The image has no model of this name or digest."""


class NoSuchAdapter(ImageError):
    """The image has no adapter of this name or digest."""


class UnfitAdapter(ImageError):
    """The adapter belongs to another base model than the persona's, or is revoked."""


class InUse(ImageError):
    """A model or an adapter that somebody uses is not removed; `details["users"]` says who."""


class ImageFull(ImageError):
    """The image's disk had no room for what the message changed; nothing changed."""


class BadExport(ImageError):
    """What is to be imported is no export, or a broken one; `details["object"]` says where."""


class MissingReference(ImageError):
    """What is to be imported refers to what is not there; `details["missing"]` says to what, and from where."""


class AttemptEnded(BaseException):
    """Ends the attempt of a message; no method can catch it."""

    def __init__(self, message: str, remedy: str = "", /, **details: Any) -> None:
        message = message[:LONGEST]
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    @property
    def type(self) -> str:
        return type(self).__name__


class TicksSpent(AttemptEnded):
    """The message used its budget of ticks."""


class DeadlineExceeded(AttemptEnded):
    """The message, or the method it waited for, took longer than allowed."""


class MemorySpent(AttemptEnded):
    """The message made more values at a time than one message may."""


class TooDeep(AttemptEnded):
    """Sends are nested deeper than allowed, or missing methods wait for each other."""


class Declined(AttemptEnded):
    """A method said that its author does not know."""
