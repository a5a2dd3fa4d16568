"""How suites are read, judged and counted, and how a whole one runs."""
