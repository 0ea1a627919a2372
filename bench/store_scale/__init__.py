"""What reading costs in a store of a size that one user alone does not reach."""
