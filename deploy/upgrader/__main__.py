"""`python -m deploy.upgrader`."""

from deploy.upgrader.upgrader import main

raise SystemExit(main())
