"""A corpus of hostile methods and attacks on the image, and the real service that they are tried on.

`methods.py` and `attacks.py` are the corpus as data, by class; `fortress.py` is the service with the invariants that no attack may break.
"""
