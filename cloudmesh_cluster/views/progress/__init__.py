"""Progress of a running operation: lines, a live terminal, a notebook's output."""
