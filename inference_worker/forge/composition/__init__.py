"""Methods that nobody wrote down as a family: small programs put together at random, and the selectors a programmer would give them.

A program is a tree of operators over the object's slots (`term`), drawn in a `scene`; each operator brings its Python and its words, so
that the selector determines what the method does (`numbers`, `texts`, `rows`, `ledgers`, `truths`, `lists`, `changes`). `program` draws a
whole one, throws away what is trivial, and keeps the shapes of the test side out of training. The opposite of `forge.families`, where
what was written is all that is ever asked.
"""
