"""`python -m uvm.heartbeat`."""

from uvm.heartbeat.heartbeat import main

raise SystemExit(main())
