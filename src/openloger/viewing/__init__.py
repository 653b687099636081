"""Looking at recordings: the browser viewer, pages to share, the report, and figures for notebooks.

The way of the data: recorded frames become points (points.py), which become a cloud of bounded size
(level_of_detail.py) while a recording is read, even as it grows (overview.py, reader.py). Settings and cloud become
what is shown, as values (scene.py, cameras.py, known.py), and that becomes nodes in the browser (layers.py,
drawing.py). viewer.py is the loop, controls.py the page's widgets; tools.py, sharing.py and navigation.py are what its
buttons and keys do.

Without a browser: report.py is the page about a recording (turntable.py, plans.py, sampled.py, series.py its parts),
notebook.py and figures.py are `recording.show()` and the plots.
"""

from openloger.viewing.figures import plot_depth, plot_trajectory
from openloger.viewing.known import Known, know_all
from openloger.viewing.notebook import Shown, show
from openloger.viewing.report import report_page
from openloger.viewing.scene import Settings
from openloger.viewing.sharing import share_page
from openloger.viewing.truth import Overlay, TrueCameras, overlay
from openloger.viewing.viewer import POINT_BUDGET, Viewer, ViewOptions

__all__ = [
    "POINT_BUDGET",
    "Known",
    "Overlay",
    "Settings",
    "Shown",
    "TrueCameras",
    "ViewOptions",
    "Viewer",
    "know_all",
    "overlay",
    "plot_depth",
    "plot_trajectory",
    "report_page",
    "share_page",
    "show",
]
