"""Which adapter is where, and who runs: a pure core of events and instructions, without clock, socket, file or engine.

In: `events` (a request arrived, a load ended). Out: instructions (prefetch, commit, evict, admit). Read `events`, `scheduler`, then what
it knows: `places`, `queue`, `demand`, `budgets`, and what it decides: `admission`, `moves`, `slots`, `prefetch`, `eviction`, with one
policy a file in `policies`. `statistics` counts.
"""
