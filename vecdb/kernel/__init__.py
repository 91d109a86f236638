"""The search kernel: which rows of an array are nearest to a query, exactly.

Answers two questions, natively and with the GIL released: the best k rows of float32 vectors
(`scan_f32`), and the same rows found by reading one byte per value (`scan_i8`, over what `quantize`
made). Segments, filters and files are left to the rooms above; arrays may be read-only memory maps,
and no value in them, however damaged, can do worse than a wrong answer.

`reference` says in numpy what every function does; the tests hold both to one contract. It is no
fallback: without the compiled module this package does not import.
"""

from ._native import DIM_MAX, DOT, L2, instruction_set, quantize, scan_f32, scan_i8

__all__ = ["DIM_MAX", "DOT", "L2", "instruction_set", "quantize", "scan_f32", "scan_i8"]
