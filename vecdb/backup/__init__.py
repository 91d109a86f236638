"""Copies of collections to keep elsewhere: made, written, verified, restored. See FORMAT.md."""
