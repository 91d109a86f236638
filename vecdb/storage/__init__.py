"""The truth on disk: what bytes a record has, and how they become durable.

FORMAT.md is the specification. `store` is the only file that knows LMDB; `codec` the only one that
knows record layouts; `command` the log's messages; `writer` the one thread that commits.
"""
