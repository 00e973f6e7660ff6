"""A real OpenStack on one machine, whose servers are nodes of this project's own node engine."""
