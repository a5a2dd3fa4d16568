"""Programs put together at random, with the selectors that a programmer would give them (`inference_worker.forge.composition`)."""

from inference_worker.forge.composition.program import change, declined, value

FAMILIES = (value, value, value, change, declined)
