"""What is searched: immutable segments on disk, and the rows that have none yet, in memory.

A part (Segment or MemoryRows) answers two questions about its rows: which are nearest to a vector,
and which hold a payload value. It knows slots, not ids; which rows are still alive, the caller
knows. Nothing here knows LMDB: rows come in as an iterable, files are derived and may be deleted.
"""
