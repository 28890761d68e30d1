"""State machines that drive stores and the model alike, and what they must agree on."""
