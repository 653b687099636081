"""A run from TOML: typed, and nothing unknown goes by."""

import pytest

from openloger.errors import InputError
from openloger.network.presets import preset
from openloger.streaming.sizing import published_size as network_size
from openloger.training.config import load_config, recipe
from openloger.training.curriculum import OTHER_SIZES


def written(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_a_file_of_a_terabyte_is_not_read(tmp_path):
    path = written(tmp_path, 'preset = "pocket"')
    with path.open("ab") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(InputError, match="as no training config has"):
        load_config(path)


def test_a_file_changes_what_it_names(tmp_path):
    config = load_config(
        written(
            tmp_path,
            """
preset = "pocket"
seed = 3
[optimiser]
clip = 2
[[stages]]
name = "only"
steps = 12
[stages.clips]
size = [32, 40]
rendered = 3
frames = [2]
[stages.losses]
rotation = 2
""",
        )
    )
    assert config.seed == 3
    assert config.optimiser.clip == 2.0
    assert config.optimiser.betas == recipe("pocket").optimiser.betas
    (stage,) = config.stages
    assert (stage.name, stage.steps, stage.clips.size, stage.losses.rotation) == ("only", 12, (32, 40), 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = 'pocket'\nsteps = 3", "`steps`"),
        ("preset = 'pocket'\n[optimiser]\nmomentum = 1", r"`optimiser\.momentum`"),
        ("preset = 'pocket'\n[[stages]]\nname = 'a'", r"stages\[0\]\.steps"),
        ("preset = 'pocket'\nseed = 'x'", "`seed`.*'x'.*int"),
        ("preset = 'pocket'\nseed = true", "`seed` is True"),
        ("preset = 'pocket'\nstages = 3", "`stages`.*3.*list"),
        ("preset = 'pocket'\n[optimiser]\nkind = 'sgd'", "kind is 'sgd'"),
        ("preset = 'pocket'\nprecision = 'float16'", "'float16'.*float32, bfloat16 or auto"),
        ("seed = 3", "`preset`"),
        ("preset = 'huge'", "'huge'"),
        ("preset = ", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_config(written(tmp_path, text))


def test_no_file_no_recipe(tmp_path):
    with pytest.raises(InputError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="'absent'"):
        load_config("absent")


@pytest.mark.parametrize("name", ["pocket", "compact", "loger", "loger-star"])
def test_recipes_are_whole(name):
    assert recipe(name).preset == name


def test_clips_have_the_shapes_that_pocket_sees_in_use():
    patch = preset("pocket").encoder.patch
    shaped = [stage.clips for stage in recipe("pocket").stages if stage.clips.other_sizes]
    assert len(shaped) >= 3
    for clips in shaped:
        assert clips.other_sizes == OTHER_SIZES
        for (width, height), size in zip([(3, 2), (16, 9), (10, 3), (4, 5), (9, 16)], clips.other_sizes, strict=True):
            assert size == network_size(height, width, patch=patch, max_pixels=clips.size[0] * clips.size[1])


def test_compacts_clips_are_landscape_wide_and_upright():
    patch = preset("compact").encoder.patch
    for stage in recipe("compact").stages:
        sizes = [stage.clips.size, *stage.clips.other_sizes]
        assert all(height % patch == width % patch == 0 for height, width in sizes)
        aspects = sorted(width / height for height, width in sizes)
        assert aspects[0] < 0.6
        assert aspects[-1] > 3
