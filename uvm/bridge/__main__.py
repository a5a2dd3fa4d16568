"""`python -m uvm.bridge`."""

from uvm.bridge.bridge import main

raise SystemExit(main())
