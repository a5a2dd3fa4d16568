"""Trials: a draft runs on copies of the real objects, in a confined process, before it is installed.

In: a TrialRequest and the records that the child asks for. Out: a TrialOutcome: result, exact effects, the amnesia check.

Read `protocol`, `client` (a trial as the UVM sees it), `server` (forks and reaps), `child` (confined, at
the end of a pipe), `experiment` (what is done there), `expectations` (whether that is what an example says), with `storage` and `records`
(the database under it) and `arguments` (made-up arguments for methods that nobody gave any).
"""
