"""The truth on disk: what bytes a record has, and how they become durable.

FORMAT.md is the specification. `environment`, `store` and `catalog` know LMDB; `codec` alone knows
record layouts; `command` the log's messages; `writer` the one thread that commits.
"""
