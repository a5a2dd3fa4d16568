"""The image's server and the tools for its files. Needs the universal class of `uvm.objects` and nothing else of `uvm`."""

import sys

# ZEO takes uvloop when it can be imported, and on it several writers' transactions reach clients out of order. Python's
# import then fails for it, in this process alone; it has to stand before the first import of ZEO.
if "ZEO" not in sys.modules:
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # the import system's documented way to forbid a module
