"""The image's own code: the bridge, the Universal Virtual Machines, the heartbeat, and the kernel that they share.

The tour, in the order in which a message travels. Every room's `__init__` says what enters, what leaves, and in which order to read it.

| room | what happens there |
| --- | --- |
| `protocol` | what a tool may send and what it gets back: the contract, which imports nothing of ours |
| `bridge` | a Send arrives, becomes a QueuedRequest, and goes to a UVM as a Delivery |
| `machine` | a UVM takes Deliveries, runs them in one transaction, and answers after the commit |
| `history` | what mattered, what was changed by whom, and how it is taken back |
| `runtime` | one Attempt at one message: lookup, sends, rights, the gate |
| `values`, `language` | what may be stored and what may be said: no database, no process |
| `image` | ZODB as this product uses it: receipts, journal, names, methods as objects |
| `transporter` | objects leave the image as documents, and come into another one |
| `generation` | a message that nobody understood becomes a MethodRequest, a Claim, a Generation, a method |
| `trial`, `inference` | where drafts are tried, and who writes them |
| `awakening` | the first objects of an image, and whether an older one still boots |
| `autotelic` | that the image stagnates, what is missing, and whether a better adapter is one |
| `wishes` | that the image wishes for other versions of what it is made of |
| `heartbeat` | what happens without a message |

`objects` holds the classes that stored records name; its path never changes. `errors` and `rights` are words that all rooms use. No room
imports one that stands above it in `tests/test_imports.py`.
"""
