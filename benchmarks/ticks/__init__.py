"""CPU seconds for the whole budget of ticks, spent in each operation and method of the language on small, large and hostile values.

`python -m benchmarks.ticks [PART]` prints the table, and writes docs/ticks.md where all was measured. What is listed is taken from the
language's own tables; `coverage.missing()` says what of them has no case. Read `case`, `values`, then the parts (`texts`, `containers`,
`functions`, `operators`, `statements`, `objects`), which `coverage` puts together, and `bench`, which runs a case.
"""
