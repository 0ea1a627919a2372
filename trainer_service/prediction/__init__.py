"""Predicting with what a run left: the same problem, on rows that the run has not seen."""
