"""Whether a video suits reconstruction and its result can be believed, in one line each.

`measures` takes a few numbers of each window while it is written; `findings` judges them. What is found is printed
after a run, and stands in `openloger info` and the report.
"""

from openloger.diagnostics.findings import Finding, Lens, doubt_of_centre, findings
from openloger.diagnostics.measures import Peak, WindowMeasures, measure, measures_from_json

__all__ = [
    "Finding",
    "Lens",
    "Peak",
    "WindowMeasures",
    "doubt_of_centre",
    "findings",
    "measure",
    "measures_from_json",
]
