"""What this machine remembers of clusters, and locks."""
