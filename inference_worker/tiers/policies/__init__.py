"""Which adapter is worth keeping: one policy a file, behind the interface in `policy`."""
