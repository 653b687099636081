"""Kernels chosen by measurement: the decision with a stand-in for time, what is kept, and that runs go on as begun."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import _cur_sdpa_kernel_backends

from openloger import InputError
from openloger.network import Network, NetworkSpec, Window, load_network, preset
from openloger.network.kernels import attention, calibration, kept
from openloger.network.kernels.calibration import KernelCalibration, calibrated
from openloger.network.kernels.choice import Kernels
from openloger.network.kernels.sample import WindowSample, shallow
from openloger.network.kernels.turns import FEWEST_TURNS, MOST_TURNS, Comparison, compare
from openloger.network.kernels.use import use_kernels
from openloger.transformer import layers
from openloger.transformer.attention import BACKENDS, attention_preferring
from openloger.transformer.layers import Linear

CPU = torch.device("cpu")
POCKET, COMPACT = preset("pocket"), preset("compact")


def compared(default_s, other_s, *, until_s=1e9):
    """With runs that take so many seconds, in order, of a clock that they alone move."""
    clock, order = [0.0], []
    left = {"default": iter([0.0, *default_s]), "other": iter([0.0, *other_s])}  # the first prepares

    def way(name):
        def run():
            order.append(name)
            clock[0] += next(left[name])

        return name, run

    def timed(run):
        before = clock[0]
        run()
        return clock[0] - before

    return compare("c", way("default"), way("other"), timed_by=timed, until_s=until_s, now=lambda: clock[0]), order


def test_what_is_clearly_faster_is_taken():
    found, order = compared([1.0] * 9, [0.9] * 9)
    assert found.leaves_default
    assert found.ratio == pytest.approx(0.9)
    assert len(found.ratios) == MOST_TURNS
    assert order[2:6] == ["default", "other", "other", "default"], "the one that begins changes"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([0.97] * 9, id="within the margin"),
        pytest.param([1.2] * 9, id="slower"),
        pytest.param([0.5, 1.1, 0.8, 1.1, 0.8], id="not in most turns"),
        pytest.param([0.4, 1.0, 1.0, 1.0, 1.0], id="in one turn that something else disturbed"),
    ],
)
def test_the_default_stays_otherwise(other):
    assert not compared([1.0] * 9, other)[0].leaves_default


def test_one_turn_is_enough_where_it_is_certain():
    slow, fast = compared([1.0] * 9, [10.0] * 9)[0], compared([10.0] * 9, [1.0] * 9)[0]
    assert (len(slow.ratios), slow.leaves_default) == (1, False)
    assert (len(fast.ratios), fast.leaves_default) == (1, True)


@pytest.mark.parametrize(("until_s", "turns"), [(-1.0, 0), (1.0, 1), (3.5, 2)])
def test_without_time_the_default_stays(until_s, turns):
    found, _ = compared([1.0] * 9, [0.8] * 9, until_s=until_s)
    assert len(found.ratios) == turns < FEWEST_TURNS
    assert not found.leaves_default


def test_the_best_of_several_is_taken():
    ways = [Comparison("threads", "8", name, (ratio,) * 5, 1.0) for name, ratio in (("1", 0.8), ("2", 0.6), ("4", 0.9))]
    found = KernelCalibration().after(*ways)
    assert found.kernels.threads == 2
    assert found.comparisons == tuple(ways)
    assert found.describe() == "float32, threads of torch 2"
    assert KernelCalibration().after(replace(ways[0], ratios=(1.2,) * 5)).describe() == "float32", "none is chosen"


class StandIn:
    """A machine on which a window takes as long as `seconds` has it for each way; nothing is computed."""

    def __init__(self, seconds, monkeypatch):
        self.made = 0
        monkeypatch.setattr(WindowSample, "__init__", self._make)
        monkeypatch.setattr(WindowSample, "way", lambda _, kernels, precision: lambda: seconds(kernels, precision))

    def _make(self, config):
        self.made += 1


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Puts a stand-in where this machine is, with one thread, native bfloat16 and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(calibration.VARIABLE, "on")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(calibration, "has_onednn", lambda: True)
    monkeypatch.setattr(calibration, "free_threads", lambda: None)
    monkeypatch.setattr(calibration, "load_per_core", lambda: 0.0)
    monkeypatch.setattr(calibration, "processor_s", lambda run: run())

    def of(seconds):
        return StandIn(seconds, monkeypatch)

    return of


def emulated(kernels, precision):
    """bfloat16 without instructions, MKL a tenth faster than oneDNN, rows a tenth slower."""
    seconds = 10.0 if precision == torch.bfloat16 else 1.0
    return seconds * (0.9 if kernels.linear == "torch" else 1.0) * (1.0 if kernels.channels_last else 1.1)


def test_each_choice_is_made_by_its_time(machine):
    machine(emulated)
    found = calibrated(COMPACT, CPU)
    assert (found.precision, found.kernels) == ("float32", Kernels(linear="torch"))
    assert [one.choice for one in found.comparisons] == ["precision", "linear", "channels_last"]
    assert [one.choice for one in calibrated(POCKET, CPU).comparisons] == ["precision", "linear"]


def test_the_defaults_are_left_for_nothing_slower(machine):
    machine(lambda kernels, precision: 1.0 if (kernels, precision) == (Kernels(), torch.bfloat16) else 1.2)
    found = calibrated(COMPACT, CPU)
    assert (found.precision, found.kernels) == ("bfloat16", Kernels())


def test_it_is_measured_once(machine, openloger_log):
    stand_in = machine(emulated)
    first = calibrated(COMPACT, CPU)
    assert "compact runs in float32, float32 products by torch" in openloger_log.text
    assert calibrated(COMPACT, CPU) == first
    assert stand_in.made == 1
    calibrated(POCKET, CPU)
    assert stand_in.made == 2, "another network"
    calibrated(COMPACT, CPU, mode="again")
    assert stand_in.made == 3


@pytest.mark.parametrize("part", ["torch", "openloger", "device", "instructions", "limited_to", "threads"])
def test_another_machine_or_version_is_measured_anew(machine, part, monkeypatch):
    stand_in = machine(emulated)
    calibrated(POCKET, CPU)
    plain = kept.identity
    monkeypatch.setattr(kept, "identity", lambda *given: plain(*given) | {part: "another"})
    calibrated(POCKET, CPU)
    assert stand_in.made == 2


def test_a_limit_of_instructions_is_another_machine(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    before = kept.identity(POCKET, CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert kept.identity(POCKET, CPU) != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"linear": "torch"', '"linear": "mkl"', 1),
        lambda text: text.replace('"precision": "float32"', '"precision": "float8"', 1),
        lambda text: text.replace('"seconds"', '"minutes"'),
        lambda text: text.replace('"identity"', '"id"'),
        lambda text: text.replace('"threads": null', '"threads": -1'),
    ],
)
def test_a_damaged_file_is_measured_anew(machine, damage):
    stand_in = machine(emulated)
    first = calibrated(POCKET, CPU)
    path = kept.file_of(kept.identity(POCKET, CPU))
    whole = path.read_text()
    path.write_text(damage(whole))
    assert path.read_text() != whole
    assert calibrated(POCKET, CPU).kernels == first.kernels
    assert stand_in.made == 2
    assert json.loads(path.read_text())["identity"]


def test_a_folder_that_cannot_be_written_is_one_line(machine, tmp_path, monkeypatch, openloger_log):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    stand_in = machine(emulated)
    assert calibrated(POCKET, CPU).precision == "float32"
    assert calibrated(POCKET, CPU).precision == "float32"
    assert stand_in.made == 2
    assert openloger_log.text.count("at every start, as it cannot be kept") == 2
    assert len(openloger_log.records) == 2


def test_a_busy_machine_keeps_the_defaults_for_now(machine, monkeypatch, openloger_log):
    stand_in = machine(emulated)
    monkeypatch.setattr(calibration, "load_per_core", lambda: 5.0)
    found = calibrated(POCKET, CPU)
    assert (found.precision, found.kernels, stand_in.made) == ("bfloat16", Kernels(), 0)
    assert "too busy to measure" in openloger_log.text
    monkeypatch.setattr(calibration, "load_per_core", lambda: 0.1)
    assert calibrated(POCKET, CPU).precision == "float32", "nothing was kept"


def test_off_measures_nothing(machine, monkeypatch, tmp_path):
    stand_in = machine(emulated)
    monkeypatch.setenv(calibration.VARIABLE, "off")
    assert calibrated(POCKET, CPU) == KernelCalibration(precision="bfloat16")
    assert stand_in.made == 0
    assert not list(tmp_path.iterdir())


def test_another_mode_is_refused(monkeypatch):
    monkeypatch.setenv(calibration.VARIABLE, "never")
    with pytest.raises(InputError, match="OPENLOGER_CALIBRATION is 'never'; it is one of on, off, again"):
        load_network("pocket", device="cpu")


def test_threads_are_compared_on_the_walls_clock(machine, monkeypatch):
    machine(lambda kernels, precision: time.sleep(0.004 * torch.get_num_threads()) or 1.0)
    monkeypatch.setattr(calibration, "free_threads", lambda: 4)
    monkeypatch.setattr(WindowSample, "frames", 2, raising=False)
    monkeypatch.setattr(WindowSample, "has_whole_frames", True, raising=False)
    before = torch.get_num_threads()
    found = calibrated(POCKET, CPU)
    assert [one.other for one in found.comparisons if one.choice == "threads"] == ["1", "2"]
    assert found.kernels.threads == 1
    assert torch.get_num_threads() == before


def test_a_real_measurement_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "PATIENT_S", 0.2)
    threads, drawn = torch.get_num_threads(), torch.random.get_rng_state()
    found = calibrated(POCKET, CPU, mode="again")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert found.comparisons
    assert found.seconds > 0
    assert calibrated(POCKET, CPU, mode="on") == found


def test_samples_are_small():
    with torch.device("meta"):
        whole, few = Network(preset("loger")), Network(shallow(preset("loger")))
    assert few.parameter_count() < 0.15 * whole.parameter_count()
    assert shallow(POCKET) == POCKET
    assert WindowSample(POCKET).has_whole_frames
    assert not WindowSample(COMPACT).has_whole_frames


@pytest.mark.parametrize("name", ["pocket", "compact"])
def test_a_window_is_the_same_with_other_kernels(name):
    network = load_network(name, device="cpu", dtype="float32")
    window = Window(torch.rand(1, 2, 3, 64, 80), 2, 1)
    with torch.no_grad():
        before = network(window)[0]
        other = network(window)[0] if use_kernels(network, Kernels("torch", channels_last=False)) else None
        assert use_kernels(network, Kernels()).kernels == Kernels()
        again = network(window)[0]
    torch.testing.assert_close(other.points_cam, before.points_cam, rtol=1e-3, atol=1e-4)
    assert torch.equal(again.points_cam, before.points_cam)


@pytest.mark.skipif(not layers.has_onednn(), reason="this torch has no oneDNN")
def test_torchs_own_products_are_used_where_chosen(monkeypatch):
    calls = []
    fast = layers._onednn
    monkeypatch.setattr(layers, "_onednn", lambda *given: calls.append(1) or fast(*given))
    network = load_network("pocket", device="cpu", dtype="float32")
    window = Window(torch.rand(1, 2, 3, 64, 80), 2, 1)
    with torch.no_grad():
        use_kernels(network, Kernels(linear="torch"))(window)
        assert not calls
        use_kernels(network, Kernels())(window)
    assert len(calls) >= sum(isinstance(module, Linear) for module in network.decoder.modules())


@pytest.mark.parametrize(
    "kernels", [Kernels(), Kernels("torch"), Kernels(channels_last=False, threads=3, attention=("flash",))]
)
def test_recordings_keep_what_is_not_the_default(kernels):
    network = use_kernels(load_network("pocket", weights="random", device="cpu", dtype="float32"), kernels)
    settings = json.loads(json.dumps(network.run_settings()))
    assert Kernels.of_recording(settings | {"window": 9}) == kernels
    assert (settings == {"precision": "float32"}) == (kernels == Kernels()), "older recordings had the defaults"


def test_a_spec_goes_on_in_the_recorded_precision():
    recorded = {"precision": "bfloat16"}
    assert NetworkSpec("pocket").continuing(recorded).dtype == "bfloat16"
    assert NetworkSpec("pocket").continuing(None).dtype == "auto"
    assert NetworkSpec("pocket", dtype="float32").continuing(recorded).dtype == "float32", "to be refused by name"


def test_tests_run_without_calibration():
    assert os.environ[calibration.VARIABLE] == "off"
    assert load_network("pocket", weights="random", device="cpu").kernels == Kernels()


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A stand-in for a card on which attention takes so many seconds by each backend; None: it cannot."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(calibration.VARIABLE, "on")
    monkeypatch.setattr(calibration, "load_per_core", lambda: 0.0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a stand-in")
    monkeypatch.setattr(attention, "clock_of", lambda device: lambda run: run())

    def of(by_torch, **seconds):
        def attend():
            in_use = _cur_sdpa_kernel_backends()
            alone = [name for name, backend in BACKENDS.items() if in_use == [backend]]
            took = seconds[alone[0]] if alone else by_torch
            if took is None:
                raise RuntimeError("No available kernel. Aborting execution.")
            return took

        monkeypatch.setattr(attention, "attention_of", lambda *given: attend)
        return torch.device("cuda")

    return of


def test_attention_prefers_what_is_faster_on_the_card(card):
    device = card(1.0, cudnn=0.7, flash=0.9, efficient=2.0)
    found = calibrated(POCKET, device)
    assert found.kernels == Kernels(attention=("cudnn", "flash", "efficient"))
    assert found.describe() == "bfloat16, attention by cudnn"
    assert calibrated(POCKET, device) == found, "as it was kept"


def test_attention_is_torchs_where_nothing_is_clearly_faster(card):
    found = calibrated(POCKET, card(1.0, cudnn=1.0, flash=0.97, efficient=2.0))
    assert found.kernels == Kernels()
    assert found.describe() == "bfloat16, attention by torch"


def test_what_a_card_cannot_do_is_not_preferred(card):
    found = calibrated(POCKET, card(1.0, cudnn=None, flash=None, efficient=0.5))
    assert found.kernels.attention == ("efficient",)
    assert [one.other for one in found.comparisons] == ["efficient"]
    nothing = calibrated(COMPACT, card(None, cudnn=0.5, flash=0.5, efficient=0.5))
    assert (nothing.comparisons, nothing.kernels) == ((), Kernels())


def test_a_preference_demands_nothing():
    """On a CPU cuDNN computes nothing, and the next one does."""
    with attention_preferring(("cudnn", "efficient")):
        assert _cur_sdpa_kernel_backends(with_priority=True) == [
            BACKENDS[name] for name in ("cudnn", "efficient", "flash", "math")
        ]
        network = load_network("pocket", weights="random", device="cpu", dtype="float32")
        window = Window(torch.rand(1, 2, 3, 64, 80), 2, 1)
        with torch.no_grad():
            found = network(window)[0]
            preferring = use_kernels(network, Kernels(attention=("cudnn", "flash")))(window)[0]
    assert torch.equal(found.points_cam, preferring.points_cam)


def test_the_measured_attention_is_a_networks_own():
    config = replace(POCKET, max_pixels=24 * 32, window=3)
    within, over = attention.attention_of(config, CPU, torch.float32)()
    assert within.shape == (3, 4, 12 + 2, 32)
    assert over.shape == (1, 4, 3 * (12 + 2), 32)


@pytest.mark.parametrize("name", ["pocket", "compact"])
def test_no_mask_keeps_a_window_from_flash_attention(name, monkeypatch):
    """Neither does the padding of a last window; the masks of frames do, where frames keep different numbers."""
    calls = []
    plain = F.scaled_dot_product_attention

    def seen(*tensors, attn_mask=None, is_causal=False, **options):
        calls.append((attn_mask, is_causal))
        return plain(*tensors, attn_mask=attn_mask, is_causal=is_causal, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", seen)
    network = load_network(name, weights="random", device="cpu", dtype="float32")
    images = torch.rand(1, 3, 3, 64, 80)
    with torch.no_grad():
        _, memory = network(Window(images, 3, 1))
        padding = 1 if network.takes_padding else 0
        network(Window(images, 3, 1, last=True, padding=padding), memory)
    assert len(calls) > 10
    assert set(calls) == {(None, False)}
