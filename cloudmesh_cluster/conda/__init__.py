"""conda environments: solved once, written as a lock, built once, the same on every node."""
