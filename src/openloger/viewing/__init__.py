"""Looking at recordings: the browser viewer, pages to share, the report, and figures for notebooks.

- `scene`: recorded frames become points, which become a cloud of bounded size while a recording is read, even as it
  grows; settings and cloud become what is shown, as values.
- `browser`: the viewer's loop, its widgets and tools, and the nodes in the browser.
- `report`: the page about a recording, without a browser.
- `notebook` and `figures` are `openloger.show(recording)` and the plots.
"""

from openloger.viewing.browser.share import share_page
from openloger.viewing.browser.viewer import POINT_BUDGET, Viewer, ViewOptions
from openloger.viewing.figures import plot_depth, plot_trajectory
from openloger.viewing.notebook import Shown, show
from openloger.viewing.report.page import report_page
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.snapshot import Overlay, SceneSnapshot, TrueCameras, load_snapshot, overlay

__all__ = [
    "POINT_BUDGET",
    "Overlay",
    "SceneSnapshot",
    "Settings",
    "Shown",
    "TrueCameras",
    "ViewOptions",
    "Viewer",
    "load_snapshot",
    "overlay",
    "plot_depth",
    "plot_trajectory",
    "report_page",
    "share_page",
    "show",
]
