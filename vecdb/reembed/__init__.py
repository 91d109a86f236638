"""A space is moved to another model, while it is read and written.

A second space, its shadow, gets the vectors that the new model makes of the stored texts; when it
has all, the two exchange their names. What is under way is in the schema alone, see
storage/shadows.py: whatever ends the process, the next one sees which points lack a vector, and
goes on.
"""
