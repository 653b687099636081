"""A recording within a notebook: a small page in a frame of its own, which works offline, in Jupyter and in VS Code."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path

from openloger.outputs import write_output
from openloger.pages import document, row
from openloger.recording import Recording
from openloger.viewing.browser.share import SHARED_POINTS, share_page
from openloger.viewing.report.page import POINTS, about_line, glance, path_section, preview, title_of
from openloger.viewing.report.summary import summarise
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.snapshot import load_snapshot


@dataclass(frozen=True)
class Shown:
    """The HTML that a notebook displays."""

    page: str  # HTML that holds everything it shows
    height: int  # pixels
    about: str

    def __repr__(self) -> str:
        return f"Shown({self.about}: a notebook shows it; elsewhere .save('page.html') writes it)"

    def _repr_html_(self) -> str:
        inside = html.escape(self.page, quote=True)
        style = "border:0;border-radius:10px;display:block;width:100%"
        return f'<div><iframe srcdoc="{inside}" height="{self.height}" style="{style}"></iframe></div>'

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the page.

        Raises InputError where it cannot be written, or something is there; with `overwrite`, where that is not a page
        which this method wrote.
        """
        write_output(Path(path), self.page, made_by="save", overwrite=overwrite)
        return Path(path)


def show(recording: Recording, *, interactive: bool = False, height: int = 620) -> Shown:
    """The cloud on a turntable, the path and the numbers, without scripts; `interactive` is the scene to walk through
    (about 5 MB in the notebook, needs openloger[view]). `height` is in pixels.

    Raises InputError where there is no frame yet, or viser is needed and not installed.
    """
    about = f"{recording.path}, {len(recording)} frames"
    if interactive:
        scene = load_snapshot(recording, budget=SHARED_POINTS)
        settings = Settings(frame=scene.last, edge_max=scene.place.scale.edge_max, overhead=not scene.place.roofed)
        return Shown(share_page(scene, settings), height, about)
    scene, summary, unit = load_snapshot(recording, budget=POINTS), summarise(recording), recording.unit
    parts = [row([preview(scene), glance(scene, summary, unit=unit)], "hero"), path_section(scene, unit=unit)]
    return Shown(document(title_of(recording), parts, about=about_line(summary)), height, about)
