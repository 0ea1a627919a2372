"""How a trajectory becomes a question and a reply proposals."""
