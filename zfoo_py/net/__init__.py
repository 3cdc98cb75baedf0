"""Sessions: one TCP connection each, their state, and the registry of all."""
