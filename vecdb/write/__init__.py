"""What a write may hold, and what it does to a store.

`prepare` turns a client's operations into a complete command and refuses what is wrong; `apply` is
the one deterministic function that changes a collection.
"""
