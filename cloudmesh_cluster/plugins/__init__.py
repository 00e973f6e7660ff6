"""Plugins: how they are described, chosen, set, fetched."""
