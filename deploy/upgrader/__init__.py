"""The Ship of Theseus: the partner from outside that replaces what the service is made of, while it serves.

A wish comes in as a file, `update_instructions.json` in `BATOS_HOME/upgrades/`; a new environment in force goes out, or the old one as
it was, and a receipt in the image's chronicle. Read in this order:

* `instructions`: the file's format, its checks and its signature; `door`: the image's own wishes, let in or refused before that.
* `events`, `process`: what an upgrade goes through, decided: events in, instructions out. No clock, no file, no process.
* `journal`: the events on disk. An upgrade is what its journal says, read again from the beginning.
* `planks`: which processes are replaced, in which order; `health`: when a new environment is not well. Pure as well.
* `candidate`, `proof`, `switching`, `image_tools`: building an environment, proving it on a copy of the image, replacing processes.
* `works`: carries out what `process` instructs; `upgrader`: the loop that watches the directory. `records`: what the command shows.

The upgrader runs under supervisord, from the environment that the service was set up in, which it never changes.
"""
