"""This machine's side of the external network: a bridge with the address of the APIs, closed to everybody else."""

from __future__ import annotations

from devcloud.layout import Cloud


def make(cloud: Cloud) -> None:
    """Make the bridge."""


def remove(cloud: Cloud) -> None:
    """Remove the bridge."""
