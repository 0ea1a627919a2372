"""Sources of proposals: the remote mentor, the controls, and what stands in for a lost mentor."""
