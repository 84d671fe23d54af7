"""The control plane: rooms, who is in them, and what teachers tell them to do."""
