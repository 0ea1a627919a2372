"""The domain's words as plain frozen dataclasses."""
