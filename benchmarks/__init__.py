"""How fast, beside what people use: `python -m benchmarks`, as root, on a quiet machine.  Ratios, never limits."""
