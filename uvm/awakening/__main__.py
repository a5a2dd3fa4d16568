"""`python -m uvm.awakening`."""

from uvm.awakening.awakening import main

raise SystemExit(main())
