"""The worker as its clients see it: a ROUTER socket, requests, answers.

In: frames of `inference_worker.protocol`. Out: Deltas and Completed, or RequestFailed with a type. Read `server` (the loop), `service`
(what a request goes through), `pending_request`, then `backpressure`, `liveness`, `accounting`, `answers` and `reports`.
"""
