"""Messages about runs to addresses that the operator names: what became of them."""
