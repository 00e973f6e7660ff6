"""The version of `cm`."""

__version__ = "0.1.0"
