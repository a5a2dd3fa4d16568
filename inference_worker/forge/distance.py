"""How far an adapter has gone from its parent: the mean KL divergence of what it would say next, on prompts that nobody trains on.

Called by the process that trains, at each checkpoint. What the parent says at a few positions of a few answers is computed once, before
the first step, and kept (at most PROMPTS × POSITIONS distributions: 38 MB of a vocabulary of 49,152); the adapter's is compared with it,
in nats a token. It is the divergence from the parent to the adapter, so that it is large where the adapter no longer says what the parent
would have said: that is what is forgotten. Nothing here is random, and nothing is changed: training goes on as if nobody had looked.
"""

from typing import Any, Final

import torch
from torch import Tensor

from deploy.orders import Order
from inference_worker.forge import dataset, train
from inference_worker.forge.dataset import Tokenizer, TrainingExample

PROMPTS: Final = 12
"""Held prompts. They pass the model once at each checkpoint, without gradients: about half a step of training, every ten."""
POSITIONS: Final = 16
"""Of each answer, at most, evenly spread."""
_PAST_ORDERS: Final = 2**31 + 1
"""Added to an order's seed, it is no order's seed: no order trains on these prompts."""


def held(order: Order, tokenizer: Tokenizer) -> list[TrainingExample]:
    """The prompts of an order, with their answers: tasks of all kinds, as training draws them, and none that it draws."""
    return [dataset.encode(task, tokenizer) for task in dataset.tasks(_PAST_ORDERS + order.seed, PROMPTS, "train")]


class Yardstick:
    """What the parent says of held prompts. Made while the model's weights are the parent's."""

    def __init__(self, parent: Any, examples: list[TrainingExample], padding: int) -> None:
        self._examples = examples
        self._padding = padding
        self._parent = self._said(parent)

    def distance(self, model: Any) -> float:
        """How far the model is from the parent by now, nats a token."""
        with torch.inference_mode():
            apart = (self._parent.exp() * (self._parent - self._said(model))).sum(dim=-1)
            return max(0.0, float(apart.mean()))

    def _said(self, model: Any) -> Tensor:
        """Log probabilities of the next token, at some positions of each answer."""
        places, begin = [], 0
        for length in (len(example.answer) for example in self._examples):
            used = min(POSITIONS, length)
            places += [begin + place * length // used for place in range(used)]
            begin += length
        with torch.inference_mode():
            parts = (train.collate(rows, self._padding) for rows in train.bearable(self._examples))
            logits = torch.cat([train.answer_logits(model, tokens, targets) for tokens, targets in parts])
            return torch.nn.functional.log_softmax(logits[places], dim=-1)
