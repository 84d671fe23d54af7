"""Benchmarks: `make bench`, or one of them by `python -m bench.<name>`. Each prints a table and leaves JSON behind."""
