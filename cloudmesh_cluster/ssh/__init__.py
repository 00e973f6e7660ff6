"""SSH connections to nodes: commands, files, keys that log in."""
