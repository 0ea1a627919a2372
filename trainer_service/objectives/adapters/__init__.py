"""What the objectives that tune adapters share: the flat layout of a parameter, an encoder with an
adapter and a linear head, restarts, and PEFT's files."""
