"""Checks of a cluster: how they run, what their results mean."""
