"""The example of a mixture: it is read, its folders are found, and every source gives clips at its share."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import official_layouts as layouts

from openloger.errors import InputError
from openloger.training.config import load_config, recipe
from openloger.training.data import FileClipSpec, spec_of
from openloger.training.footage import read_clip
from openloger.training.rehearse import small_config
from openloger.training.train import check_datasets

EXAMPLE = Path(__file__).parents[2] / "examples" / "mixture.toml"
MADE = {
    "dl3dv": layouts.colmap,
    "tartanair-v2": layouts.tartanair_v2,
    "omniworld": layouts.omniworld,
    "tartanair": layouts.tartanair,
    "waymo": layouts.waymo,
    "vkitti2": layouts.vkitti2,
    "arkitscenes": layouts.arkitscenes,
    "scannet": layouts.scannet,
    "scannetpp": layouts.scannetpp,
    "hypersim": layouts.hypersim,
    "spring": layouts.spring,
    "unrealstereo4k": layouts.unrealstereo4k,
    "co3d": layouts.co3d,
    "megadepth": layouts.colmap,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name, make in MADE.items():
        make(root / name)
    shutil.copytree(root / "vkitti2" / "Scene01", root / "vkitti2" / "Scene20")
    path = root / "mixture.toml"
    path.write_text(EXAMPLE.read_text().replace("/data/", f"{root}/"))
    return load_config(path)


def test_its_stages_are_the_recipes_on_other_data(config):
    for own, shipped in zip(config.stages, recipe("loger").stages, strict=True):
        assert replace(own, clips=replace(own.clips, datasets=(), world_odds=1.0)) == shipped


def test_every_source_gives_clips_and_nothing_is_validated_on_that_is_trained_on(config):
    check_datasets(config)
    for stage in config.stages:
        assert {Path(source.folder).name for source in stage.clips.datasets} == set(MADE)
    for source in (*config.stages[0].clips.datasets, *config.validation.datasets):
        clip = read_clip(FileClipSpec(source, 3, 2, 1, (4, 6)))
        assert clip.valid.any()
        assert clip.kind.metric == (source.name not in ("colmap", "co3d", "omniworld"))
        assert clip.kind.normals == (
            source.name in ("tartanair", "vkitti2", "scannetpp", "hypersim", "spring", "omniworld", "unrealstereo4k")
        )


def test_shares_are_those_published(config):
    plan = config.stages[0].clips
    drawn = Counter(
        Path(spec.source.folder).name
        for n in range(4000)
        if isinstance(spec := spec_of(plan, seed=0, lane=0, number=n), FileClipSpec)
    )
    assert drawn.total() == 4000
    shares = {
        "dl3dv": 17.89,
        "tartanair-v2": 17.89,
        "omniworld": 17.89,
        "tartanair": 8.94,
        "waymo": 6.71,
        "vkitti2": 2.24,
    }
    for name, share in shares.items():
        assert abs(100 * drawn[name] / 4000 - share) < 2, name
    rest = [100 * drawn[name] / 4000 for name in MADE if name not in shares]
    assert abs(sum(rest) - 28.44) < 2.5
    assert np.ptp(rest) < 2


def test_a_folder_that_is_missing_is_named_before_anything_else(config):
    stage = config.stages[0]
    sources = stage.clips.datasets
    lost = replace(sources[4], folder=sources[4].folder + "-away")
    broken = replace(stage, clips=replace(stage.clips, datasets=(*sources[:4], lost)))
    with pytest.raises(InputError, match="waymo-away"):
        check_datasets(replace(config, stages=(broken,)))
    assert small_config(config).stages[0].clips.datasets == sources
