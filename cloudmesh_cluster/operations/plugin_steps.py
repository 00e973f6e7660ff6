"""Bringing plugins to nodes and calling their role scripts with the right verb at the right time."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloudmesh_cluster.events import Event
from cloudmesh_cluster.model import Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.scripts import output_listener
from cloudmesh_cluster.operations.wiring import raise_failed
from cloudmesh_cluster.plugins import ChosenPlugin, settings_sh
from cloudmesh_cluster.remote import Connections
from cloudmesh_cluster.resources import resource
from cloudmesh_cluster.role_scripts import plugin_command

Payloads = Mapping[str, Path]
PLUGIN_TIMEOUT = 900.0
