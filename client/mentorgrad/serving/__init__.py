"""What the services share and a client does not need."""
