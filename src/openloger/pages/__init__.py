"""Self-contained HTML pages: what `evaluate` and `report` write, and what a notebook shows.

A page holds everything it shows: no scripts, nothing to be loaded. It follows the reader's choice of light or dark,
narrows to a phone, and prints. `document` is the frame and its parts, `plots` and `maps` are SVG, `pictures` are
images within the page.
"""

from openloger.pages.document import Tile, code, document, figure, row, section, style, table, tiles
from openloger.pages.maps import Backdrop, Route, fitted, map_plot
from openloger.pages.pictures import DEPTH_COLOURS, depth_colours, image_tag, image_uri, spin_tag
from openloger.pages.plots import Line, bar_plot, line_plot

__all__ = [
    "DEPTH_COLOURS",
    "Backdrop",
    "Line",
    "Route",
    "Tile",
    "bar_plot",
    "code",
    "depth_colours",
    "document",
    "figure",
    "fitted",
    "image_tag",
    "image_uri",
    "line_plot",
    "map_plot",
    "row",
    "section",
    "spin_tag",
    "style",
    "table",
    "tiles",
]
