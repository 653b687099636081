"""`open_dataset`: every dataset by its name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from openloger.datasets.arkitscenes import ARKITSCENES
from openloger.datasets.co3d import CO3D
from openloger.datasets.colmap import COLMAP
from openloger.datasets.euroc import EUROC
from openloger.datasets.folder import FOLDER
from openloger.datasets.hypersim import HYPERSIM
from openloger.datasets.kitti import KITTI
from openloger.datasets.omniworld import OMNIWORLD
from openloger.datasets.packed import PACKED
from openloger.datasets.rgbd import BONN, ETH3D, TUM_RGBD
from openloger.datasets.scannet import SCANNET
from openloger.datasets.scannetpp import SCANNETPP
from openloger.datasets.sequence import DatasetFolder, Reader
from openloger.datasets.seven_scenes import SEVEN_SCENES
from openloger.datasets.sintel import SINTEL
from openloger.datasets.spring import SPRING
from openloger.datasets.tartanair import TARTANAIR
from openloger.datasets.unrealstereo4k import UNREALSTEREO4K
from openloger.datasets.vbr import VBR
from openloger.datasets.vkitti2 import VKITTI2
from openloger.datasets.waymo import WAYMO
from openloger.errors import InputError

DATASETS: dict[str, Reader] = {
    "kitti": KITTI,
    "vbr": VBR,
    "tum": TUM_RGBD,
    "7scenes": SEVEN_SCENES,
    "scannet": SCANNET,
    "bonn": BONN,
    "sintel": SINTEL,
    "tartanair": TARTANAIR,
    "eth3d": ETH3D,
    "vkitti2": VKITTI2,
    "euroc": EUROC,
    "arkitscenes": ARKITSCENES,
    "scannetpp": SCANNETPP,
    "hypersim": HYPERSIM,
    "spring": SPRING,
    "co3d": CO3D,
    "omniworld": OMNIWORLD,
    "waymo": WAYMO,
    "unrealstereo4k": UNREALSTEREO4K,
    "colmap": COLMAP,
    "packed": PACKED,
    "folder": FOLDER,
}


def open_dataset(name: str, folder: str | os.PathLike[str], *, sequences: Iterable[str] | None = None) -> DatasetFolder:
    """A dataset on disk as a mapping from the names of its sequences to the sequences, each opened on demand.

    `name` is a key of `DATASETS`; `sequences` chooses among those that are there, in the order given.
    Raises InputError for an unknown dataset, a folder that is not there or not laid out as the dataset is
    (docs/datasets.md), and a sequence that it does not have.
    """
    if name not in DATASETS:
        raise InputError(f"dataset {name!r} is not known; there are {', '.join(DATASETS)}")
    reader, path = DATASETS[name], Path(folder)
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give the one that holds {reader.title}")
    found = reader.find(path)
    if not found:
        raise InputError(f"{path} is not laid out as {reader.title}: nothing like {reader.layout}")
    chosen = found if sequences is None else list(sequences)
    missing = [one for one in chosen if one not in found]
    if missing:
        raise InputError(f"{path} has no sequence {missing[0]!r} of {reader.title}; it has {', '.join(found)}")
    return DatasetFolder(name, path, reader, tuple(chosen))
