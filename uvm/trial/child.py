"""The trial's child: confined, with one socket to the UVM, over which it hears what to try, asks for records, and says what came of it.

Runs in the only thread of a process that the trial server forked for one draft. It owns the socket, and
nothing else of the world; the trial itself is `uvm.trial.experiment`'s. What it says is an opinion about one draft: the UVM trusts it for
no more than that.
"""

import socket
import struct
import time

from deploy.confinement import confine, sufficient
from deploy.profiles import trial_profile
from deploy.settings import TrialSettings
from uvm.trial.experiment import carry_out
from uvm.trial.failures import bounded, failed
from uvm.trial.protocol import (
    LONGEST_HEARD,
    Ask,
    Confined,
    FromChild,
    ParentGone,
    ProtocolViolation,
    Record,
    ToChild,
    TrialError,
    TrialRequest,
    framed,
    said_to_child,
)
from uvm.trial.storage import Stored


class ChildEnd:
    """The child's end of the stream: one struct at a time, waiting for as long as it takes.

    `waited`: seconds spent waiting for the UVM. That it does not wait for ever is the trial server's business.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.waited = 0.0

    def say(self, message: FromChild) -> None:
        """Send one struct. Raises ParentGone."""
        try:
            self._socket.sendall(framed(message))
        except OSError as error:
            raise ParentGone(str(error)) from error

    def hear(self) -> ToChild:
        """The UVM's next struct. Raises ParentGone and ProtocolViolation."""
        since = time.monotonic()
        (length,) = struct.unpack(">I", self._exactly(4))
        if length > LONGEST_HEARD:
            raise ProtocolViolation(f"a frame of {length} bytes; {LONGEST_HEARD} are allowed")
        message = said_to_child(self._exactly(length))
        self.waited += time.monotonic() - since
        return message

    def ask(self, oid: bytes) -> Stored | None:
        """The record of an object as of the trial's transaction."""
        self.say(Ask(oid))
        answer = self.hear()
        if not isinstance(answer, Record) or answer.oid != oid:
            raise ProtocolViolation("another record than the one that was asked for")
        return None if answer.data is None else (answer.data, answer.serial)

    def _exactly(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            try:
                part = self._socket.recv(min(length - len(received), 1 << 20))
            except OSError as error:
                raise ParentGone(str(error)) from error
            if not part:
                raise ParentGone("the UVM closed the trial")
            received += part
        return bytes(received)


def live(end: socket.socket, settings: TrialSettings) -> None:
    """The whole life of a child. Raises ParentGone and ProtocolViolation."""
    layers = confine(trial_profile(settings.memory_mb, settings.cpu_s))
    line = ChildEnd(end)
    line.say(Confined(layers))
    request = line.hear()
    if not isinstance(request, TrialRequest):
        raise ProtocolViolation("the UVM must say what is to be tried before anything else")
    if not (sufficient(layers) or request.unconfined):
        missing = ", ".join(f"{layer.name} ({layer.reason})" for layer in layers if layer.required and not layer.in_force)
        line.say(failed(TrialError("NotConfined", f"nothing was run: this host lacks {missing}")))
        return
    line.say(bounded(carry_out(request, line.ask, lambda: line.waited)))
