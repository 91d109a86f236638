"""Faults and attacks: rows.py says which tests show what becomes of each."""
