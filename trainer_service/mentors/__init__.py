"""Sources of proposals: the remote mentor, the controls, and the fallback for a lost mentor."""
