"""Execution of one run in its worker process: gradient steps, mentor requests, restarts, events."""
