"""Data sets: built in, or from files under a server's data roots. Nothing here imports torch."""
