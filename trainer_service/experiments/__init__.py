"""Experiments: expansion into runs, execution and reports. Imports no torch."""
