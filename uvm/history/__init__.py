"""What the image remembers of its own life, and how it takes back what it learned wrongly.

In: journal entries and chronicle entries that are in the image. Out: pages of history, differences, and the plan of an undo; who may carry
one out, and carrying it out, is `uvm.runtime.recollection`'s.

Read `chronicle` (what mattered, written by whoever did it), `entries` (journals and chronicle as one story), `listing` (pages of it),
`takings` (what an undo is asked to take back), `marks` (what was taken back already), `undo` (the plan), `difference` (two moments of one
object).
"""
