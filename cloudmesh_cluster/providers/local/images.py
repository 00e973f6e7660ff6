"""The images of nodes on this machine: built by the node engine when they are not in the cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.providers.blocking import to_its_end
from cloudmesh_cluster.providers.local.engine.errors import EngineError


class Images:
    """What nodes are made of.

    Args:
        cache: where layers are kept for all clusters.
        settings: `mirror` (of apt), `image` (a tarball, in the place of the built-in image).

    """

    def __init__(self, cache: Path, settings: Mapping[str, object]) -> None:
        self._cache = cache
        self._settings = settings

    async def layers(
        self, images: Iterable[str | None], packages: Sequence[str], emit: Emit
    ) -> dict[str | None, tuple[Path, ...]]:
        """Return the layers of each image that is asked for, built when they are not in the cache.

        Raises:
            UsageError: an image can't be built; no node has been made of it.

        """
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def progress(line: str) -> None:
            # The journal belongs to the thread of the loop.
            loop.call_soon_threadsafe(emit, Event("output", "image", message=line))

        try:
            return await to_its_end(self._build, tuple(dict.fromkeys(images)), packages, progress, stop, hurry=stop.set)
        except EngineError as error:
            raise UsageError(_one_line(error.message), hint=error.hint) from error

    def _build(
        self,
        images: Sequence[str | None],
        packages: Sequence[str],
        progress: Callable[[str], None],
        stop: threading.Event,
    ) -> dict[str | None, tuple[Path, ...]]:
        from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
        from cloudmesh_cluster.providers.local.engine.images import ensure_base, ensure_layer

        cache, layers = self._cache, {}
        ids, mirror = ids_of_this_user(), self._settings.get("mirror")
        for image in images:
            base = ensure_base(
                cache,
                ids=ids,
                source=self.file(image),
                mirror=str(mirror) if mirror else None,
                progress=progress,
                still_wanted=lambda: not stop.is_set(),
            )
            layers[image] = ensure_layer(
                cache, base, packages, ids=ids, progress=progress, still_wanted=lambda: not stop.is_set()
            )
        return layers

    def missing(self, images: Iterable[str | None], packages: Sequence[str]) -> list[str]:
        """Return what `layers` would have to build, in words."""
        from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
        from cloudmesh_cluster.providers.local.engine.images import missing

        mirror, ids = self._settings.get("mirror"), ids_of_this_user()
        found: dict[str, None] = {}
        for image in dict.fromkeys(images):
            found |= dict.fromkeys(
                missing(self._cache, packages, ids=ids, source=self.file(image), mirror=str(mirror) if mirror else None)
            )
        return list(found)

    def file(self, name: str | None) -> Path | None:
        """Return the tarball that an image's name means; None for the built-in image."""
        word = name or self._settings.get("image")
        return Path(str(word)).expanduser().absolute() if word else None


def _one_line(message: str) -> str:
    """Return the first line of a message, or what apt calls an error in a longer one: progress has told the rest."""
    lines = message.splitlines() or [""]
    errors = [line for line in lines[1:] if line.startswith("E: ")]
    return f"{lines[0]} ... {errors[0]}" if errors and "No space" not in lines[0] else lines[0]
