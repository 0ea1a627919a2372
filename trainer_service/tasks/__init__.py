"""Loads tasks: built-in data sets and files under the server's data roots. Imports no torch."""
