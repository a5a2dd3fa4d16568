"""Trials: a draft runs on copies of the real objects, in a confined process, before it is installed.

In: a TrialRequest and the records that the child asks for. Out: a TrialOutcome: result, exact effects, the amnesia check.

Read `protocol`, `client` (the server as the UVM sees it) and `trial` (one trial, likewise), `server` (forks and reaps), `child` (confined,
at the end of a pipe) and `experiment` (what is done there): `runner` runs each call, with `storage` and `records` (the database under it),
`effects` and `failures` (what came of it); `example_runs` and `expectations` (whether that is what an example says), `made_up_calls` and
`arguments` (for methods that nobody gave any), `varied_runs`, `variation` and `likeness` (what drafts mean that do the same on the real
values).
"""
