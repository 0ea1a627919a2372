"""Benchmarks: `python -m bench.<name>`. Each compares with a peer or a limit in the same run, and
prints one JSON object as its last line."""
