"""`python -m uvm.machine`."""

from uvm.machine.machine import main

raise SystemExit(main())
