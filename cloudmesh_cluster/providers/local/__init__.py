"""Nodes on this very machine."""
