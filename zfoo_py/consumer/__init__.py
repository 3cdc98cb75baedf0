"""Which provider gets this packet: rings, caches, balancers, discovery."""
