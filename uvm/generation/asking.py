"""The instructions that ask the model: for drafts, and what a draft asks in its trial. What it answers comes as an event.

Owned by the UVM's main thread, through `uvm.generation.writers`; the answers are callbacks of the `InferenceClient`, in that thread.
"""

import time

from deploy.settings import Settings
from inference_worker.protocol import Completed, Delta, RequestFailed
from uvm.generation.events import ThoughtAnswered, ThoughtUnanswered, WriterFailed, WritingDelta, Wrote
from uvm.generation.handlers import Handlers, Happened
from uvm.generation.instructions import AskThought, AskWriter, CancelQuestion
from uvm.generation.learning import Learner
from uvm.generation.thoughts import Thoughts
from uvm.generation.waits import Waits
from uvm.inference.client import InferenceClient


class ModelQuestions:
    """What the model is asked for the writers, and waited for. `happened` is called with its answers; `handlers`: what is carried out."""

    def __init__(self, settings: Settings, inference: InferenceClient, thoughts: Thoughts, learner: Learner, happened: Happened) -> None:
        self._settings = settings
        self._inference = inference
        self._thoughts = thoughts
        self._learner = learner
        self._happened = happened
        self.waits = Waits(lambda question: inference.waits_for(question, time.monotonic()))
        self.handlers: Handlers = {
            AskWriter: self._ask_writer,
            AskThought: self._ask_thought,
            CancelQuestion: self._cancel_question,
        }

    def _ask_writer(self, order: AskWriter) -> None:
        question = order.generate.id

        def done(answer: Completed | RequestFailed) -> None:
            self.waits.begun(question)
            if isinstance(answer, Completed):
                self._learner.wrote(order.persona, answer.outputs)
                self._happened(Wrote(order.generation, question, answer))
            else:
                self._happened(WriterFailed(order.generation, question, answer))

        def writing(delta: Delta) -> None:
            self.waits.begun(question)
            self._happened(WritingDelta(order.generation, question, delta.index, delta.text))

        self.waits.ask(order)
        self._inference.ask(order.generate, self._settings.uvm.generation_deadline_s, done, writing)

    def _ask_thought(self, order: AskThought) -> None:
        def done(answer: Completed | RequestFailed) -> None:
            if isinstance(answer, Completed):
                self._happened(ThoughtAnswered(order.generation, order.question, answer.outputs[0].text))
            else:
                self._happened(ThoughtUnanswered(order.generation, order.question, answer))

        self._thoughts.ask(
            order.thought,
            order.thought.persona.oid,
            question=order.question,
            session=order.session,
            seconds=self._settings.inference.deadline_s,
            done=done,
        )

    def _cancel_question(self, order: CancelQuestion) -> None:
        self.waits.begun(order.question)
        self._inference.cancel(order.question)
