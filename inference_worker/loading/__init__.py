"""Moving adapters: what the tier scheduler decides is done here.

`driver` carries instructions out, `mover` reads and commits, `serial` keeps an order.
"""
