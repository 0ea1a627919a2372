"""A run on several devices: a process for each, which together answer questions about rows.

The worker leads (process 0): it alone holds the run's state, takes the optimizer's steps, decides
restarts, records, and talks to the mentor. The others hold the same problem and nothing else. A
question carries its parameters, so whatever the worker decides, they follow without being told.
Imported only for such runs.
"""
