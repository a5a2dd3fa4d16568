"""What the image remembers of its own life, and how it takes back what it learned wrongly.

In: journal entries and chronicle entries that are in the image. Out: pages of history, differences, and a plan of an undo; who may carry it
out, and doing it, are `uvm.runtime.recollection`'s.

Read `chronicle`: what mattered, written by whoever did it.
"""
