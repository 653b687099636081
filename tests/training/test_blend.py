"""Between two sets of weights."""

from dataclasses import replace

import pytest
import torch

from openloger.errors import InputError, WeightsError
from openloger.network import Network, preset
from openloger.network.checkpoint import save_network
from openloger.training.initialise import blend


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ends")
    torch.manual_seed(1)
    for name, memory in (("before", None), ("after", preset("pocket").memory)):
        save_network(Network(replace(preset("pocket"), memory=memory)), folder / f"{name}.safetensors")
    return folder / "before.safetensors", folder / "after.safetensors"


def test_shared_weights_go_part_of_the_way_and_new_ones_all_of_it(ends):
    before, after = (blend(end, end, part=1.0).state_dict() for end in ends)
    between = blend(*ends, part=0.25).state_dict()
    assert before.keys() < between.keys() == after.keys()
    for name, weight in between.items():
        wanted = 0.25 * after[name] + 0.75 * before[name] if name in before else after[name]
        torch.testing.assert_close(weight, wanted)
    whole = blend(*ends, part=1.0).state_dict()
    assert all(torch.equal(whole[name], weight) for name, weight in after.items())


def test_what_does_not_fit_is_refused(ends, tmp_path):
    with pytest.raises(InputError, match=r"part is 1\.5"):
        blend(*ends, part=1.5)
    with pytest.raises(WeightsError, match="no such weight"):
        blend(*reversed(ends), part=0.5)
