"""A discrete-event simulator of the worker: traces in, hit rates and waits out, driven by the tier scheduler's own core."""
