"""The rules of the state machine, by subject, and what they are held against."""
