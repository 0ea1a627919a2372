"""One run in its worker process: gradient steps and the mentor in turn, recorded, resumable."""
