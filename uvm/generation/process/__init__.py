"""The pure core of the writing of methods: events in, instructions out. No clock, no database, no model.

In: what happened (`uvm.generation.events`), with the time. Out: what is to be done, in order (`uvm.generation.instructions`).

Read `process` (the whole of it, and its rules) and `registry` (what it holds), then its four nouns from a message's arrival to its end:
`requests` (who waits, and whose the message is), `writing` (drafts), `trials`, `choosing` (the image's rule) and `ends`.
Each is functions of the registry and one generation; what a generation remembers, and the table of what may come next, are
`uvm.generation.generation`'s.
"""
