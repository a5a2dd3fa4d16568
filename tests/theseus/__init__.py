"""What replaces a real service under load: a ship, its planks, and the traffic that checks itself.

`python -m tests.theseus` is the long run, `make theseus`; `tests/theseus/test_theseus.py` the short one.
"""
