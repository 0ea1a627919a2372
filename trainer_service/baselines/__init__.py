"""Methods without prompt tuning, on the rows of a finished run, shown beside its result.

They tell whether tuning a prompt was worth its budget. Each knows every labelled row that the run
had (train and selection), chooses its settings by cross-validation on them, and is scored on *test*
once. None costs any of the run's budget.
"""
