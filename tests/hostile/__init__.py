"""A corpus of hostile methods and attacks on the image, and the real service that they are tried on.

`methods.py`, `escapes.py` and `attacks.py` are the corpus as data, by class; `fortress.py` is the service with the
invariants that no attack may break, `alone.py` tries the ways out of Python's sandboxes on each layer with the others off.
"""
