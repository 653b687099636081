"""All metrics of one video at once, and the flat names under which they are printed and stored."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from openloger.evaluation.cloud import Cloud, CloudErrors, cloud_errors
from openloger.evaluation.depth import (
    Calibration,
    DepthAlignment,
    DepthErrors,
    DepthPairs,
    calibration,
    depth_errors,
    depth_scales,
)
from openloger.evaluation.gather import GatherSettings, MatchedFrames
from openloger.evaluation.trajectory import (
    AbsoluteError,
    AlignedPath,
    Alignment,
    LoopClosure,
    RelativeError,
    ScaleDrift,
    SegmentErrors,
    absolute_error,
    align,
    distance_along,
    loop_closure,
    relative_error,
    scale_drift,
    segment_errors,
)
from openloger.recording.windows import DriftMeter, drift_meter
from openloger.runtime.threads import small_operations

CALIBRATED_PIXELS = 200_000  # of one video, at most
CALIBRATED_PIXELS_LEAST = 100


@dataclass(frozen=True)
class MeasureSettings:
    """Settings of the metrics; they are printed with every number."""

    alignment: Alignment = "sim3"  # of the path
    depth_alignment: DepthAlignment = "sequence"  # of the depth that counts; the others are given too
    gather: GatherSettings = field(default_factory=GatherSettings)
    cloud_thresholds: tuple[float, ...] = (0.05, 0.1, 0.2)  # world units


@dataclass(frozen=True)
class Baseline:
    """Trivial baselines (a straight line, a constant depth): a number has to be better than these."""

    ate_rmse: float  # of the best straight line at constant speed
    depth_abs_rel: float | None  # of the same depth everywhere, after one scale


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that was measured of one video. What is None could not be: there was no truth of it."""

    frames: int  # estimated
    matched: int  # of these, with truth
    path_length: float  # of the true path over the matched frames, in world units
    absolute: AbsoluteError
    relative: RelativeError  # over one matched frame
    segments: SegmentErrors
    scale_drift: ScaleDrift | None
    loop_closure: LoopClosure | None
    depth: dict[DepthAlignment, DepthErrors]  # by alignment; empty without true depth
    calibration: Calibration | None
    drift_meter: DriftMeter | None
    cloud: CloudErrors | None
    guess: Baseline
    aligned: AlignedPath
    gathered: MatchedFrames
    settings: MeasureSettings

    def numbers(self) -> dict[str, float | int | None]:
        """Flat: names to numbers, lengths in world units, angles in degrees."""
        found: dict[str, float | int | None] = {
            "frames": self.frames,
            "matched": self.matched,
            "path_length": self.path_length,
            "ate_rmse": self.absolute.translation.rmse,
            "ate_mean": self.absolute.translation.mean,
            "ate_median": self.absolute.translation.median,
            "ate_max": self.absolute.translation.maximum,
            "ate_percent": _percent(self.absolute.translation.rmse, self.path_length),
            "ate_rmse_of_straight_line": self.guess.ate_rmse,
            "scale": self.absolute.scale,
            "rotation_deg_rmse": self.absolute.rotation_deg.rmse,
            "rotation_deg_mean": self.absolute.rotation_deg.mean,
            "rotation_deg_median": self.absolute.rotation_deg.median,
            "rpe_translation_rmse": self.relative.translation.rmse,
            "rpe_rotation_deg_rmse": self.relative.rotation_deg.rmse,
            "kitti_translation_percent": self.segments.translation_percent,
            "kitti_rotation_deg_per_100": self.segments.rotation_deg_per_100,
            "scale_drift_spread": self.scale_drift and self.scale_drift.spread,
            "scale_drift_last_over_first": self.scale_drift and self.scale_drift.last_over_first,
            "loops": self.loop_closure.count if self.loop_closure else 0,
            "loop_gap": self.loop_closure and self.loop_closure.gap,
            "loop_gap_percent": self.loop_closure and self.loop_closure.gap_percent,
            "loop_rotation_deg": self.loop_closure and self.loop_closure.rotation_deg,
        }
        return found | self._depth_numbers() | self._cloud_numbers() | self._overlap_numbers()

    def _depth_numbers(self) -> dict[str, float | int | None]:
        chosen = self.depth.get(self.settings.depth_alignment)
        found: dict[str, float | int | None] = {}
        for name in ("abs_rel", "rmse", "delta1", "delta2", "delta3", "scale", "frames", "pixels"):
            found[f"depth_{name}"] = None if chosen is None else getattr(chosen, name)
        for alignment in ("none", "sequence", "frame"):
            errors = self.depth.get(alignment)
            found[f"depth_abs_rel_{alignment}"] = errors and errors.abs_rel
        found["depth_abs_rel_of_constant"] = self.guess.depth_abs_rel
        found["confidence_rank_correlation"] = self.calibration and self.calibration.rank_correlation
        found["confidence_sparsification"] = self.calibration and self.calibration.sparsification
        return found

    def _cloud_numbers(self) -> dict[str, float | int | None]:
        if self.cloud is None:
            return {}
        found: dict[str, float | int | None] = {
            "cloud_accuracy_mean": self.cloud.accuracy_mean,
            "cloud_accuracy_median": self.cloud.accuracy_median,
            "cloud_completeness_mean": self.cloud.completeness_mean,
            "cloud_completeness_median": self.cloud.completeness_median,
            "cloud_chamfer": self.cloud.chamfer,
            "cloud_normal_consistency": self.cloud.normal_consistency,
        }
        return found | {f"cloud_f_score_{row.distance:g}": row.f_score for row in self.cloud.thresholds}

    def _overlap_numbers(self) -> dict[str, float | int | None]:
        meter = self.drift_meter
        return {
            "overlap_depth": meter and meter.depth_relative,
            "overlap_rotation_deg": meter and meter.rotation_deg,
            "overlap_translation_percent": meter and meter.translation_percent,
        }


@small_operations()
def measure(gathered: MatchedFrames, settings: MeasureSettings | None = None) -> Measured:
    """Every metric that the truth allows.

    Raises InputError for fewer than three matched frames, numbers that are not finite, paths that cannot be aligned,
    and where frames have true depth but none of its pixels an estimate.
    """
    settings = settings or MeasureSettings()
    aligned = align(gathered.estimated, gathered.truth, how=settings.alignment)
    depth = _depth(gathered)
    return Measured(
        frames=gathered.frames,
        matched=len(gathered.truth),
        path_length=float(distance_along(gathered.truth)[-1]),
        absolute=absolute_error(aligned, gathered.truth),
        relative=relative_error(aligned, gathered.truth),
        segments=segment_errors(aligned, gathered.truth),
        scale_drift=scale_drift(aligned, gathered.truth),
        loop_closure=loop_closure(aligned, gathered.truth),
        depth=depth,
        calibration=_calibration(gathered.depth) if depth else None,
        drift_meter=drift_meter(gathered.disagreements, gathered.estimated),
        cloud=_cloud(gathered, aligned, settings.cloud_thresholds),
        guess=_guess(gathered),
        aligned=aligned,
        gathered=gathered,
        settings=settings,
    )


def _depth(gathered: MatchedFrames) -> dict[DepthAlignment, DepthErrors]:
    if not gathered.depth:
        return {}
    alignments: tuple[DepthAlignment, ...] = ("none", "sequence", "frame")
    return {alignment: depth_errors(gathered.depth, alignment=alignment) for alignment in alignments}


def _guess(gathered: MatchedFrames) -> Baseline:
    centres = gathered.truth[:, :3, 3] - gathered.truth[:, :3, 3].mean(axis=0)
    time = np.arange(len(centres)) - (len(centres) - 1) / 2
    left = centres - np.outer(time, time @ centres / (time @ time))
    flat = tuple(replace(frame, estimated=np.ones_like(frame.estimated)) for frame in gathered.depth)
    return Baseline(
        ate_rmse=float(np.sqrt(np.mean(np.square(left).sum(axis=1)))),
        depth_abs_rel=depth_errors(flat, alignment="sequence").abs_rel if flat else None,
    )


def _calibration(frames: tuple[DepthPairs, ...]) -> Calibration | None:
    """Of the relative depth error after each frame's own scale, so that drift of scale is not held against it."""
    frames = tuple(frame for frame in frames if len(frame.truth))
    scales = depth_scales(frames, alignment="frame")
    errors = [np.abs(s * f.estimated / f.truth - 1) for s, f in zip(scales, frames, strict=True)]
    error, confidence = np.concatenate(errors), np.concatenate([frame.confidence for frame in frames])
    every = max(1, -(-len(error) // CALIBRATED_PIXELS))
    if len(error) < CALIBRATED_PIXELS_LEAST:
        return None
    return calibration(confidence[::every].astype(np.float64), error[::every].astype(np.float64))


def _cloud(gathered: MatchedFrames, aligned: AlignedPath, thresholds: tuple[float, ...]) -> CloudErrors | None:
    cloud, truth = gathered.estimated_cloud, gathered.true_cloud
    if cloud is None or truth is None:
        return None
    moved = aligned.truth_from_estimate
    rotation = moved.rotation.numpy()
    points = float(moved.scale) * cloud.points @ rotation.T + moved.translation.numpy()
    normals = None if cloud.normals is None else cloud.normals @ rotation.T
    return cloud_errors(Cloud(points, normals), truth, thresholds=thresholds)


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole > 0 else None


def json_ready(value: Any) -> Any:
    """Numbers that JSON has no word for become null, tuples lists, paths text."""
    if isinstance(value, dict):
        return {str(key): json_ready(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(one) for one in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
