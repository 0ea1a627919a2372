"""The mentor service: proposes better points to restart from."""
