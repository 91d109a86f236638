"""Running a node: what it shows to those who watch it."""
