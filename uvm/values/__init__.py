"""Values: what a slot may hold, and how it crosses the bridge. Nothing is altered on the way; what does not fit is refused.

Read `slot_values`, then `crossing` (to and from the wire), then `exact` (whether a frame says what is read from it), and `examples`.
"""
