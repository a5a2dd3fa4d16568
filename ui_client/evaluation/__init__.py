"""How good the image is at what nobody has written yet: a suite of tasks goes in, a report with verdicts comes out.

`batos eval` uses it, in the command's thread and a few of its own; it knows the image by the wire protocol alone. In the order in which a
suite travels: `suite` (what a task is, read and checked), `throwaway` and `arms` (the image that it runs in), `documents` (a task's objects
as an import brings them), `access` (what an evaluation asks of an image), `runner` (sends every task, then judges), `runs` (a source on
a task's cases), `drafts` (what the image keeps of them), `judging` (right or wrong), `figures` (shares with their intervals, curve,
calibration), `report` (what is written), `plot` (pictures of it). docs/evaluation.md has the format, how it judges, and how the report is
read.
"""
