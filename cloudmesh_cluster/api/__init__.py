"""The public Python API: clusters as objects."""
