"""The registry card: faults of ZooKeeper, and between it and the nodes, played against real processes."""
