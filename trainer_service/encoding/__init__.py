"""Text encoders, and the projection of soft prompts to tokens."""
