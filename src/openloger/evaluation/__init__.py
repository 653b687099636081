"""Metrics, suites and tables: the place where a number means one thing.

measured = evaluate_recording(open_recording("out"), "world_from_cam.txt")
measured.numbers()["ate_rmse"]
"""

from openloger.evaluation.calibration import Calibration, calibration
from openloger.evaluation.cloud import Cloud, CloudErrors, cloud_errors
from openloger.evaluation.depth import DepthAlignment, DepthErrors, DepthPairs, depth_errors, match_depth, sample_depth
from openloger.evaluation.gather import GatherSettings, MatchedFrames, gather_placed, gather_recording
from openloger.evaluation.measure import Measured, MeasureSettings, measure
from openloger.evaluation.path_shape import LoopClosure, ScaleDrift, loop_closure, scale_drift
from openloger.evaluation.recording import evaluate_recording
from openloger.evaluation.summary import Summary
from openloger.evaluation.trajectory import (
    AbsoluteError,
    AlignedPath,
    Alignment,
    RelativeError,
    SegmentErrors,
    absolute_error,
    align,
    relative_error,
    segment_errors,
)
from openloger.recording.windows import DriftMeter, drift_meter

__all__ = [
    "AbsoluteError",
    "AlignedPath",
    "Alignment",
    "Calibration",
    "Cloud",
    "CloudErrors",
    "DepthAlignment",
    "DepthErrors",
    "DepthPairs",
    "DriftMeter",
    "GatherSettings",
    "LoopClosure",
    "MatchedFrames",
    "MeasureSettings",
    "Measured",
    "RelativeError",
    "ScaleDrift",
    "SegmentErrors",
    "Summary",
    "absolute_error",
    "align",
    "calibration",
    "cloud_errors",
    "depth_errors",
    "drift_meter",
    "evaluate_recording",
    "gather_placed",
    "gather_recording",
    "loop_closure",
    "match_depth",
    "measure",
    "relative_error",
    "sample_depth",
    "scale_drift",
    "segment_errors",
]
