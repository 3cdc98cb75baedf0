"""The balancing policies, a file each; `catalog` has them by name."""
