"""The worker's numbers, as Prometheus serves them."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

REQUESTS = Counter("batos_inference_requests", "Requests by how they ended", ["outcome"])
TOKENS = Counter("batos_inference_tokens", "Tokens read (prompt) and written (output)", ["kind"])
QUEUED = Histogram("batos_inference_queued_seconds", "Seconds from arrival to the engine", buckets=_SECONDS)
ENGINE = Histogram("batos_inference_engine_seconds", "Seconds in the engine, to the last token", buckets=_SECONDS)
WAITING = Gauge("batos_inference_waiting", "Requests that wait")
RUNNING = Gauge("batos_inference_running", "Requests in the engine")
ENGINE_STARTS = Counter("batos_inference_engine_starts", "How often an engine was started")
ADAPTERS_LOADED = Gauge("batos_inference_adapters_loaded", "Adapters in the engine")
