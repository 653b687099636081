"""Exported networks beside the same networks in torch: streams agree to 1e-4, and what does not fit is refused."""

import importlib.util
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from network.exported_networks import OVERLAP, PATCH, WINDOW, export_small, small_config
from network.reference import distance
from openloger.cli import main
from openloger.datasets.writing import VideoWriter
from openloger.errors import InputError, OpenlogerError, WeightsError
from openloger.network import Network, NetworkSpec, OnnxNetwork, Window, export_network, load_network
from openloger.network.exported import write
from openloger.outputs import MANIFEST, damaged_file
from openloger.pipeline.options import RunOptions
from openloger.pipeline.reconstruct import reconstruct
from openloger.recording import open_recording
from openloger.streaming import Stream, StreamState, stream

onnx = pytest.importorskip("onnx", reason="needs openloger[onnx]")
pytest.importorskip("onnxruntime", reason="needs openloger[onnx]")
pytest.importorskip("onnxscript", reason="needs openloger[onnx]")

pytestmark = pytest.mark.timeout(1500)  # half a minute of processor time an export, which a busy machine gives in many
MOST = 1e-4  # ‖a − b‖ / ‖b‖
SIZE = (3 * PATCH, 4 * PATCH)  # no size that was traced
NAMES = ("loger", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pi3", "pi3x")))
PARTS = ("world_from_cam", "points_cam", "confidence_logit")


@pytest.fixture(scope="module")
def exports(shared_by_workers):
    """The weights file and the exported folder of a small network; each written once a run."""
    return partial(export_small, shared_by_workers)


@pytest.fixture
def pair(request, exports):
    weights, folder = exports(request.param)
    return load_network(request.param, weights=weights, device="cpu", dtype="float32"), OnnxNetwork.load(folder)


@pytest.fixture
def exported(exports, tmp_path):
    """A folder of the test's own."""
    return shutil.copytree(exports("loger")[1], tmp_path / "exported")


def frames(count, size=SIZE):
    return list(torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(count)))


def streamed(network, given, **settings):
    engine = Stream(network, size=tuple(given[0].shape[1:]), **settings)
    return list(engine.run(given)), engine.state


def assert_equal_streams(ours, theirs, most=MOST):
    (placed, state), (wanted, wanted_state) = ours, theirs
    assert len(placed) == len(wanted)
    for one, other in zip(placed, wanted, strict=True):
        for part in PARTS:
            assert distance(getattr(one, part), getattr(other, part)) < most, (one.number, part)
        assert one.metric_scale == (other.metric_scale and pytest.approx(other.metric_scale, rel=most))
        assert (one.place is None) == (other.place is None)
    tensors, wanted_tensors = state.memory.to_tensors(), wanted_state.memory.to_tensors()
    assert list(tensors) == list(wanted_tensors)
    for name, tensor in tensors.items():
        assert tensor.dtype == wanted_tensors[name].dtype
        assert distance(tensor, wanted_tensors[name]) < most, name


@pytest.mark.parametrize("name", NAMES)
def test_graphs_pass_the_checker_and_name_what_is_free(name, exports):
    _, folder = exports(name)
    says = json.loads((folder / "network.json").read_text())
    assert says["opset"] == write.OPSET
    for kind, inputs in says["inputs"].items():
        model = onnx.load(folder / f"{kind}.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 18)]
        shapes = {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in model.graph.input
        }
        assert {shape_name: len(shape) for shape_name, shape in shapes.items()} == {
            k: len(v) for k, v in inputs.items()
        }
        assert shapes["images"] == [1, "frames", 3, "height", "width"]
        assert [value.name for value in model.graph.output] == says["outputs"]
        assert b"network.py" not in (folder / f"{kind}.onnx").read_bytes()  # where the code lay that was traced
    assert set(says["inputs"]) == {"first", "steady"}
    assert ("metric_scale" in says["outputs"]) == (name == "pi3x")


@pytest.mark.parametrize("pair", NAMES, indirect=True)
@pytest.mark.parametrize(
    ("count", "size", "settings"),
    [
        (WINDOW + 3 * (WINDOW - OVERLAP) + 1, SIZE, {}),  # the last of five windows is short
        (1, SIZE, {}),
        (WINDOW + 1, (6 * PATCH, 2 * PATCH), {}),
        (12, (7 * PATCH, 7 * PATCH), {}),  # the size of the encoder's grid of positions
        (16, SIZE, {"window": 4, "placement": "none"}),
        (17, SIZE, {"reset_every": 2}),
    ],
)
def test_streams_agree(pair, count, size, settings):
    network, exported = pair
    given = frames(count, size)
    assert_equal_streams(streamed(exported, given, **settings), streamed(network, given, **settings))


@pytest.mark.parametrize("pair", ["loger"], indirect=True)
def test_the_memory_counts(pair):
    """Else agreement over windows would show nothing."""
    _, exported = pair
    given = frames(14)
    with_memory, _ = streamed(exported, given)
    fresh, _ = streamed(exported, given, memory="fresh")
    assert distance(fresh[0].points_cam, with_memory[0].points_cam) == 0
    assert distance(fresh[2].points_cam, with_memory[2].points_cam) > 1e-3


@pytest.mark.parametrize("pair", ["loger"], indirect=True)
def test_fresh_memory_and_padded_last_windows_agree(pair, monkeypatch):
    network, exported = pair
    given = frames(13)
    fresh = {"memory": "fresh"}
    assert_equal_streams(streamed(exported, given, **fresh), streamed(network, given, **fresh))
    monkeypatch.setattr(stream, "PADDED_AFTER", 2)
    assert network.takes_padding
    assert not exported.takes_padding
    assert_equal_streams(streamed(exported, given), streamed(network, given))


@pytest.mark.parametrize("pair", NAMES, indirect=True)
def test_a_window_at_a_time_is_rigid_as_the_network(pair):
    network, exported = pair
    images = torch.stack(frames(2 * WINDOW))[None]
    ours, theirs = None, None
    for start in (0, WINDOW - OVERLAP):
        window = Window(images[:, start : start + WINDOW], WINDOW, OVERLAP)
        found, ours = exported(window, ours)
        with torch.inference_mode():
            wanted, theirs = network(window, theirs)
        for part in PARTS:
            assert distance(getattr(found, part), getattr(wanted, part)) < MOST, part
    assert ours.to_tensors().keys() == theirs.to_tensors().keys()


@pytest.mark.parametrize("pair", ["loger"], indirect=True)
def test_a_run_cut_in_two_is_the_run_in_one_piece(pair):
    network, exported = pair
    given = frames(17)
    whole, end = streamed(exported, given)
    for first in (exported, network):
        engine = Stream(first, size=SIZE)
        running = engine.run(given)
        before = [next(running) for _ in range(2)]
        running.close()
        again = Stream(exported, size=SIZE)
        again.state = StreamState.from_bytes(engine.state.to_bytes())
        after = list(again.run(given))
        if first is network:  # begun in torch, and finished without
            assert_equal_streams((before + after, again.state), (whole, end))
            continue
        for one, other in zip(before + after, whole, strict=True):
            assert all(torch.equal(getattr(one, part), getattr(other, part)) for part in PARTS)
        for name, tensor in again.state.memory.to_tensors().items():
            assert torch.equal(tensor, end.memory.to_tensors()[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("pi3", "torch-export"),
        ("loger", "torch-export"),
        ("loger", "aot-inductor"),
    ],
)
def test_torch_loads_and_runs_the_other_forms(name, to, exports):
    weights, folder = exports(name, to)
    says = json.loads((folder / "network.json").read_text())
    assert (says["to"], says["opset"]) == (to, None)
    network = load_network(name, weights=weights, device="cpu", dtype="float32")
    window = Window(torch.stack(frames(WINDOW))[None], WINDOW, OVERLAP, rigid=False)
    _, memory = network(window)
    wanted, after = network(window, memory)
    given = memory.to_tensors() | {"images": window.images, "roles": window.roles}
    path = str(folder / "steady.pt2")
    step = torch.export.load(path).module() if to == "torch-export" else torch._inductor.aoti_load_package(path)
    found = step(*(given[name] for name in says["inputs"]["steady"]))
    wanted = write.named_outputs(wanted, after)
    assert list(wanted) == says["outputs"]
    for name, tensor in zip(says["outputs"], found, strict=True):
        assert distance(tensor, wanted[name]) < MOST, name
    with pytest.raises(WeightsError, match=f"for {to}, not for ONNX Runtime"):
        OnnxNetwork.load(folder)


def test_machine_code_that_is_not_the_network_is_not_written(tmp_path, monkeypatch):
    """Compiling is left out: what was compiled is as the network, but for one output."""
    network = Network(small_config("loger")).eval().requires_grad_(False)
    steps = {}
    monkeypatch.setattr(write, "check_compiler", lambda device, instead: None)
    monkeypatch.setattr(write, "_write_compiled", lambda step, path: steps.update({str(path): step}))
    wrong = "next.overlap_features.0"

    def load(path):
        step = steps[path]
        return lambda *given: [
            tensor + (name == wrong) * 1e-3 for name, tensor in zip(step.outputs, step(*given), strict=True)
        ]

    monkeypatch.setattr("torch._inductor.aoti_load_package", load)
    with pytest.raises(OpenlogerError, match=rf"the exported loger is not the network: {wrong} of window 0 differs by"):
        export_network(network, tmp_path / "out", to="aot-inductor")
    assert not (tmp_path / "out").exists()
    wrong = None
    assert export_network(network, tmp_path / "out", to="aot-inductor").to == "aot-inductor"


def test_int8_is_near(exports, exported, tmp_path, monkeypatch):
    """Tracing is left out: the graphs are there."""
    monkeypatch.setattr(write, "_write_onnx", lambda step, path: shutil.copy(exported / path.name[8:], path))
    network = load_network("loger", weights=exports("loger")[0], device="cpu", dtype="float32")
    says = export_network(network, tmp_path / "int8", int8=True)
    assert says.precision == "int8"
    assert sorted(file.name for file in (tmp_path / "int8").iterdir()) == [
        MANIFEST,
        *("first.onnx", "initial_memory.safetensors", "network.json", "steady.onnx"),
    ]
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8" / "steady.onnx").graph.node}
    assert "MatMulInteger" in kinds
    images = torch.stack(frames(WINDOW))[None]
    quantised, whole = OnnxNetwork.load(tmp_path / "int8"), OnnxNetwork.load(exported)
    found, wanted = (one(Window(images, WINDOW, OVERLAP))[0].points_cam for one in (quantised, whole))
    assert 1e-6 < distance(found, wanted) < 0.2
    assert quantised.run_settings() == {"precision": "int8", "runtime": "onnx"}


def test_a_graph_that_is_not_the_network_is_not_written(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_write_onnx", lambda step, path: shutil.copy(exported / path.name, path))
    torch.manual_seed(1)
    other = Network(small_config("loger")).eval().requires_grad_(False)
    with pytest.raises(OpenlogerError, match=r"is not the network: \w+ of window 0 differs by"):
        export_network(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_graph_does_not_have_is_refused(exported):
    network = OnnxNetwork.load(exported)
    images = torch.stack(frames(WINDOW))[None]
    window = Window(images, WINDOW, OVERLAP)
    refusals = {
        r"overlap 1: loger was exported for windows that share 2": replace(window, overlap=1),
        r"neither masks nor padding": replace(window, used=torch.ones(1, WINDOW, *SIZE, dtype=torch.bool)),
        r"masks nor padding: use": replace(window, padding=1, last=True),
        r"a batch of 2": replace(window, images=images.repeat(2, 1, 1, 1, 1)),
        r"do not divide into patches of 14": replace(window, images=images[..., 1:]),
    }
    for reason, refused in refusals.items():
        with pytest.raises(InputError, match=reason):
            network(refused)
    with pytest.raises(InputError, match="without swa: an exported network runs all"):
        network(window, disabled=("swa",))
    _, memory = network(window)
    short = replace(memory, overlap_features=tuple(level[:, :1] for level in memory.overlap_features))
    with pytest.raises(InputError, match="has 1 frames of the window before, not 2"):
        network(window, short)


def test_files_that_do_not_match_are_refused(exported):
    says = json.loads((exported / "network.json").read_text())
    assert damaged_file(exported) is None
    (exported / "network.json").write_text(json.dumps(says | {"format": 0}))
    with pytest.raises(WeightsError, match="is of format 0, and this version reads 1: export the network again"):
        OnnxNetwork.load(exported)
    (exported / "network.json").write_text("{")
    with pytest.raises(WeightsError, match="is damaged: it is not JSON"):
        OnnxNetwork.load(exported)
    (exported / "network.json").write_text(json.dumps(says))
    graph = (exported / "steady.onnx").read_bytes()
    (exported / "steady.onnx").write_bytes(graph[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"steady\.onnx is not the file that was exported"):
        OnnxNetwork.load(exported)
    (exported / "steady.onnx").unlink()
    with pytest.raises(WeightsError, match=r"lacks steady\.onnx"):
        OnnxNetwork.load(exported)
    (exported / "network.json").unlink()
    with pytest.raises(WeightsError, match="holds no exported network"):
        OnnxNetwork.load(exported)


def test_graphs_that_are_not_what_they_are_said_to_be_are_refused(exported):
    says = json.loads((exported / "network.json").read_text())
    inputs = says["inputs"] | {"first": says["inputs"]["steady"]}
    (exported / "network.json").write_text(json.dumps(says | {"inputs": inputs}))
    network = OnnxNetwork.load(exported)
    with pytest.raises(WeightsError, match=r"first\.onnx does not take and give what"):
        network(Window(torch.stack(frames(WINDOW))[None], WINDOW, OVERLAP))


def test_networks_that_cannot_be_exported_are_refused(tmp_path, monkeypatch):
    network = Network(small_config("loger"))
    refusals = {
        "--int8 goes with --to onnx": {"int8": True, "to": "torch-export"},
        "'tflite' is none of onnx, torch-export": {"to": "tflite"},
        "overlap 5 must be": {"overlap": WINDOW},
    }
    for reason, settings in refusals.items():
        with pytest.raises(InputError, match=reason):
            export_network(network, tmp_path / "out", **settings)
    memory = replace(network.config.memory, newton_schulz="bfloat16")
    with pytest.raises(InputError, match="updates its memory in bfloat16"):
        export_network(Network(replace(network.config, memory=memory)), tmp_path / "out")
    monkeypatch.setattr(
        write, "find_spec", lambda name: None if name == "onnxscript" else importlib.util.find_spec(name)
    )
    with pytest.raises(InputError, match=r"needs onnxscript: pip install '.*\[onnx\]'"):
        export_network(network, tmp_path / "out")

    def compile_nothing(*given, **settings):
        raise RuntimeError("no working C++ compiler")

    monkeypatch.setattr(torch, "compile", compile_nothing)
    with pytest.raises(InputError, match=r"no working C\+\+ compiler\): choose --to onnx or torch-export"):
        export_network(network, tmp_path / "out", to="aot-inductor")
    assert not any(tmp_path.iterdir())


def test_the_default_network_is_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export-network", "compact", "--weights", "random"])
    assert ended.value.code == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "cannot be exported" in one]
    assert "compact cannot be exported: its geometric camera chooses edges" in line
    assert not any(tmp_path.iterdir())


def test_nothing_of_a_user_is_replaced(exported, monkeypatch):
    monkeypatch.setattr(write, "_write_onnx", lambda step, path: pytest.fail("it was traced"))
    network = Network(small_config("loger"))
    with pytest.raises(InputError, match="exists: choose another path"):
        export_network(network, exported)
    (exported / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt is not what `export-network` wrote"):
        export_network(network, exported, overwrite=True)
    assert (exported / "notes.txt").read_text() == "mine"


@pytest.fixture
def walk(tmp_path):
    path = tmp_path / "walk.mp4"
    with VideoWriter(path, fps=10.0) as video:
        for frame in frames(14, (48, 64)):
            video.write((frame.permute(1, 2, 0) * 255).byte().numpy())
    return path


def test_reconstruct_runs_a_folder(exports, walk, tmp_path, capsys):
    weights, folder = exports("loger")
    main_options = ["--device", "cpu", "--depth-dtype", "float32"]
    in_torch = ["loger", "--weights", str(weights), "--dtype", "float32"]
    for out, network in (("ours", [str(folder)]), ("theirs", in_torch)):
        with pytest.raises(SystemExit) as ended:
            main(["reconstruct", str(walk), "--out", str(tmp_path / out), "--network", *network, *main_options])
        assert ended.value.code == 0, capsys.readouterr().err
    ours, theirs = (open_recording(tmp_path / out) for out in ("ours", "theirs"))
    assert ours.meta.weights_hash == theirs.meta.weights_hash
    assert ours.meta.settings == {**theirs.meta.settings, "runtime": "onnx"}
    np.testing.assert_allclose(ours.world_from_cam, theirs.world_from_cam, atol=1e-4)
    np.testing.assert_allclose(ours.depth(13), theirs.depth(13), rtol=1e-3)


def test_a_recording_is_continued(exports, walk, tmp_path):
    _, folder = exports("loger")
    whole = reconstruct(walk, tmp_path / "whole", network=str(folder))
    windows = iter((False, True))
    stop = RunOptions(should_stop=lambda: next(windows))
    part = reconstruct(walk, tmp_path / "part", network=str(folder), options=stop)
    assert not part.complete
    done = reconstruct(walk, tmp_path / "part", network=str(folder), options=RunOptions(existing="resume"))
    assert np.array_equal(done.world_from_cam, whole.world_from_cam)
    assert all(np.array_equal(done.depth(number), whole.depth(number)) for number in range(14))


def test_settings_that_an_exported_network_does_not_take_are_refused(exported, walk, tmp_path):
    for name, value in (("weights", "random"), ("device", "cuda"), ("dtype", "bfloat16"), ("compile", True)):
        with pytest.raises(InputError, match=f"{name} {value}: an exported network"):
            NetworkSpec(**{"network": str(exported), name: value}).load_window_network()
    with pytest.raises(InputError, match="reconstruct, live and batch alone can run"):
        NetworkSpec(str(exported)).load()
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"")
    for options in (RunOptions(max_memory_gb=1.0), RunOptions(mask_static=mask)):
        with pytest.raises(InputError, match="an exported network"):
            reconstruct(walk, tmp_path / "out", network=str(exported), options=options)
    assert not (tmp_path / "out").exists()
