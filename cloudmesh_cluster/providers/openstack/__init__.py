"""Nodes on OpenStack, made by Heat. Nothing is imported here: the clients are heavy."""
