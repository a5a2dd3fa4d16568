"""The transporter: objects leave an image as documents, and come into another one. (The word is Self's: Ungar, 1995.)

In: Export, Upload and Import, from the batch. Out: ObjectDocuments of `uvm.protocol`; objects, in the transaction of the message.

Leaving: `survey` (what goes, and what it is called), `exporter` (documents, and their parts). Coming in: `uploads` (what does not fit in a
frame waits there), `plan` (everything that is looked at before anything is changed, `lineage` among it), `methods` (the gates of an
imported method), `contracts` (what such methods have to satisfy), `importer` (the changes). `origin` says which image this is. Nothing here
knows of files: those are the client's, and docs/export.md's.
"""
