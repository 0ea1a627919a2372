"""Checks of what a store holds: whether its parts agree with each other."""
