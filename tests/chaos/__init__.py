"""Chaos: clients with sessions send while processes die, stop, fill the disk and lose their clock; then a checker reads the histories.

In order: `history` (what a client did and saw), `checker` (pure: what in it cannot be), `faults` (what is done to the service, and when: a
function of the seed), `house` (the processes), `clients` (the sessions), `__main__` (a run: `make chaos`).
"""
