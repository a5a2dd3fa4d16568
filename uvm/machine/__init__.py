"""A Universal Virtual Machine, `python -m uvm.machine`: one thread, one loop.

In: Deliveries of the bridge, answers of the model, trials that ended. Out: answers after the commit, and what changed.

Read `machine` (the loop), `batch` (one transaction for many messages), `execution` (one message in it) and `bookkeeping` (what is written
with its effect); `delivery` is what is remembered of a message from its arrival to its answer. Then what only some messages need:
`expected` (what is expected of a method), `offers`, `previews`, `import_tests` (the methods of an import, tried before it is stored); and
`watchdog`.
"""
