"""Labelled tables in files: reads, checks and splits them. Imports no torch."""
