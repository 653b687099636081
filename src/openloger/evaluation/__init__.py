"""Metrics, suites and tables: the place where a number means one thing.

measured = evaluate_recording(open_recording("out"), "world_from_cam.txt")
measured.numbers()["ate_rmse"]
"""

from openloger.evaluation.cloud import Cloud, CloudErrors, cloud_errors
from openloger.evaluation.depth import (
    Calibration,
    DepthAlignment,
    DepthErrors,
    DepthPairs,
    calibration,
    depth_errors,
    match_depth,
    sample_depth,
)
from openloger.evaluation.gather import GatherSettings, MatchedFrames, gather_placed, gather_recording
from openloger.evaluation.measure import Measured, MeasureSettings, measure
from openloger.evaluation.recording import evaluate_recording
from openloger.evaluation.trajectory import (
    AbsoluteError,
    AlignedPath,
    Alignment,
    LoopClosure,
    RelativeError,
    ScaleDrift,
    SegmentErrors,
    Summary,
    absolute_error,
    align,
    loop_closure,
    relative_error,
    scale_drift,
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
