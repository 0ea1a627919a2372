"""Text encoders, and the way from their vectors back to words."""
