"""Progress in a notebook: a picture that changes while the operation runs, and a line that unfolds after it."""

from __future__ import annotations

import io
import time
from collections import deque
from html import escape
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.views.progress.live import Standing

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

LINES_KEPT = 200
LINES_SHOWN = 6
NODES_SHOWN = 16
DRAWING_PAUSE = 0.3
BOX = (
    "margin:0;padding:6px 10px;border-left:3px solid #3f76d6;font-size:.9em;line-height:1.4;"
    "background:none;color:inherit"
)


class NotebookLines:
    """Shows events below the cell that runs.

    Args:
        title: what to call the operation.

    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._standing = Standing()
        self._kept: deque[Text] = deque(maxlen=LINES_KEPT)
        self._handle: DisplayHandle | None = None
        self._drawn = 0.0

    def __enter__(self) -> NotebookLines:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._take_over()
        if self._kept:
            self._show(self._end("failed" if kind else "done"))
        elif self._handle is not None:
            self._show("")  # nothing has been said that is worth a line

    def __call__(self, event: Event) -> None:
        """Take in what happened; it is drawn by `draw`, in the thread of the cell."""
        self._standing.add(event)

    def draw(self) -> None:
        """Draw how things stand, a few times a second at most."""
        if time.monotonic() - self._drawn < DRAWING_PAUSE:
            return
        self._drawn = time.monotonic()
        self._take_over()
        text = Text("\n").join([*list(self._kept)[-LINES_SHOWN:], self._standing.picture(NODES_SHOWN)])
        if text.plain:
            self._show(f'<pre style="{BOX}">{_html(text)}</pre>')

    def _take_over(self) -> None:
        said = self._standing.said
        self._kept.extend(said.popleft() for _ in range(len(said)))

    def _end(self, how: str) -> str:
        mark = '<span style="color:#2e8540">✔</span>' if how == "done" else '<span style="color:#d03a3a">✘</span>'
        lines = _html(Text("\n").join(self._kept))
        head = f"{mark} {escape(self._title)} <span style='opacity:.6'>{self._standing.seconds:.1f} s</span>"
        return f'<details><summary>{head}</summary><pre style="{BOX}">{lines}</pre></details>'

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))


def _html(text: Text) -> str:
    """Return text as HTML with rich's colours and without its page."""
    console = Console(file=io.StringIO(), record=True, width=160, force_jupyter=False, highlight=False, markup=False)
    console.print(text, soft_wrap=True)
    return console.export_html(inline_styles=True, code_format="{code}").rstrip("\n")
