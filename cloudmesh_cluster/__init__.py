"""One command turns machines into a verified cluster."""

__version__ = "0.1.0"
