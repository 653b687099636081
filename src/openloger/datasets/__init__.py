"""Readers of the public benchmarks, all giving the same `Sequence`; docs/datasets.md has how to get each.

for name, sequence in open_dataset("kitti", "/data/kitti").items():
    print(name, sequence.length, sequence.world_from_cam(0))
"""

from openloger.datasets.clip import LabelledClip, read_clip
from openloger.datasets.folder import is_timed, read_timed_truth, read_truth
from openloger.datasets.packing import PackOptions, PackSummary, pack_dataset
from openloger.datasets.sequence import (
    DatasetFolder,
    DepthKind,
    FileSequence,
    FrameTruth,
    Label,
    Labelled,
    LabelledFrame,
    Reader,
    Sequence,
    Truth,
    frames_at,
    is_chosen,
    picture_size,
)
from openloger.datasets.table import DATASETS, open_dataset
from openloger.datasets.times import cameras_at, nearest_in_time
from openloger.datasets.writing import write_folder

__all__ = [
    "DATASETS",
    "DatasetFolder",
    "DepthKind",
    "FileSequence",
    "FrameTruth",
    "Label",
    "Labelled",
    "LabelledClip",
    "LabelledFrame",
    "PackOptions",
    "PackSummary",
    "Reader",
    "Sequence",
    "Truth",
    "cameras_at",
    "frames_at",
    "is_chosen",
    "is_timed",
    "nearest_in_time",
    "open_dataset",
    "pack_dataset",
    "picture_size",
    "read_clip",
    "read_timed_truth",
    "read_truth",
    "write_folder",
]
