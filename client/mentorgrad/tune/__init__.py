"""From a labelled table to a classifier in use: the plan of a run, its folder, and what is chosen.

Nothing here talks to a service or imports torch; ``mentorgrad tune`` puts it together.
"""
