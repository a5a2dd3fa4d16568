"""What is said of a finished request: to its client, in the numbers, in the log, and in the trace.

Called in the worker's event loop, which owns it. The trace is a file that one line is appended to; see simulator/trace.py.
"""

from typing import BinaryIO

import structlog

from inference_worker import metrics as measures
from inference_worker.engine.engine import Generated
from inference_worker.protocol import Completed, Generate
from inference_worker.server.pending_request import PendingRequest
from inference_worker.tiers.events import Tier
from inference_worker.trace import trace_record

log = structlog.get_logger(__name__)


class Accounting:
    """Keeps account of one worker's finished requests. `trace` is open for binary appending, or None."""

    def __init__(self, trace: BinaryIO | None) -> None:
        self._trace = trace

    def completed(
        self,
        pending: PendingRequest,
        request: Generate,
        generated: Generated,
        tier: Tier | None,
        began: float,
        ended: float,
        shape: tuple[int, int],
    ) -> Completed:
        """The answer to a request that was admitted at `began` and written at `ended` (seconds of the loop's clock).

        `tier`: where its adapter was when it arrived; `shape`: the adapter's rank and bytes.
        """
        answer = Completed(
            id=request.id,
            outputs=generated.outputs,
            prompt_tokens=generated.prompt_tokens,
            queued_s=began - pending.arrived,
            engine_s=ended - began,
            first_token_s=(pending.first_token if pending.first_token is not None else ended) - pending.arrived,
            found=tier.value if tier is not None else "",
            mode=generated.mode,
            endpoint=generated.endpoint,
            endpoint_model=generated.endpoint_model,
        )
        written = sum(output.tokens for output in answer.outputs)
        measures.QUEUED.observe(answer.queued_s)
        measures.FIRST_TOKEN.observe(answer.first_token_s)
        measures.ENGINE.observe(answer.engine_s)
        measures.TOKENS.labels("prompt").inc(answer.prompt_tokens)
        measures.TOKENS.labels("output").inc(written)
        log.info(
            "generated",
            id=request.id,
            adapter=request.adapter_name or (request.adapter or "")[:12],
            found=answer.found,
            mode=answer.mode,
            endpoint_model=answer.endpoint_model,
            outputs=len(answer.outputs),
            prompt_tokens=answer.prompt_tokens,
            tokens=written,
            queued_s=round(answer.queued_s, 3),
            first_token_s=round(answer.first_token_s, 3),
            engine_s=round(answer.engine_s, 3),
        )
        self._record(pending, request, answer, shape)
        return answer

    def _record(self, pending: PendingRequest, request: Generate, answer: Completed, shape: tuple[int, int]) -> None:
        if self._trace is None:
            return
        try:
            self._trace.write(trace_record(pending.arrived, request, answer, pending.client, *shape))
            self._trace.flush()
        except OSError as error:
            log.error("the trace cannot be written and ends here", reason=str(error))
            self._trace = None
