"""The autotelic loop, decided: from measurements and evidence to an adapter in service, and back.

In: what the journals count, what the chronicle tells, what the forge and its examiner measured. Out: a decision with its reason, a gap, an
order for the forge, a verdict, a rollback. `policy` (the numbers, which are the image's), `windows` (the Composite Entropy Metric over
sliding windows), `series` (its past, with retention), `dissonance` (whether to act), `evidence` and `inquiry` (what is missing), `lessons`
(what may be learned from people), `paired` (two adapters on the same tasks, the statistics), `calibration` (whether the image may believe
a candidate), `gate` (whether it is better), `shadow` (whether it does as well on live messages) and `probation` (whether it stays so) are
pure; `ledger` keeps all of it in the image, and `loop` is the one that the heartbeat calls. Read them in that order.
"""
