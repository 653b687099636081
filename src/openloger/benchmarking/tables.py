"""Results as tables for people; each ends in what they were measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openloger.evaluation.report import TableRows

Content = Mapping[str, Any]  # of a Ledger
BUSY = 0.25  # load a core from which times are disturbed


def machine_line(content: Content) -> str:
    """On what, with what, and how busy it was."""
    machine, versions = content["machine"], content["versions"]
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads",
        *([machine["accelerator"]] if machine["accelerator"] else []),
        f"torch {versions['torch']}",
        f"revision {content['revision'] or versions['openloger']}",
    ]
    load = machine["load_1min"]
    if load is not None:
        parts.append(
            f"busy with other work (load {load:.1f})" if load > BUSY * machine["cores"] else f"load {load:.1f}"
        )
    return "; ".join(parts)


def length_table(content: Content) -> TableRows:
    rows = []
    for one in content["results"].values():
        name = (one["engine"], f"{one['frames']:,}")
        if "over" in one:
            foreseen = f" ({one['foreseen_s']:.0f} s foreseen)" if "foreseen_s" in one else ""
            rows.append((*name, f"past the limit of {one['over']}{foreseen}", "", ""))
            continue
        memory = f"{one['peak_bytes'] / 1e6:,.0f} MB"
        rows.append((*name, f"{one['seconds']:.2f}", f"{one['frames_per_s']:.1f}", memory))
    notes = [
        f"{engine}: time ∝ frames^{found['time_power']:.2f} between the two longest, "
        f"memory ×{found['peak_longest_over_shortest']:.2f} from the shortest to the longest"
        for engine, found in content["summary"].items()
    ]
    header = ("engine", "frames", "seconds", "frames/s", "peak memory")
    return TableRows(header, tuple(rows), note="; ".join([*notes, machine_line(content)]))


def stages_table(content: Content) -> TableRows:
    found = content["results"]["stages"]
    rows = [
        (stage.replace("_", " "), f"{100 * share:.1f} %", f"{found['ms_per_frame'][stage]:.3f}")
        for stage, share in found["share"].items()
    ]
    rows.append(("all parts", f"{100 * found['parts_of_whole']:.1f} %", f"{found['ms_per_frame']['whole']:.3f}"))
    note = f"medians of {found['repeats']} runs, one thing after the other; {machine_line(content)}"
    return TableRows(("stage", "share", "ms a frame"), tuple(rows), frozenset({len(rows) - 1}), note)


def presets_table(content: Content) -> TableRows:
    rows = []
    for name, one in content["results"].items():
        named = tuple(name.split())
        if "fault" in one:
            rows.append((*named, one["fault"], "", "", ""))
            continue
        height, width = one["size"]
        shape = f"{one['window']}/{one['overlap']} of {height}×{width}"
        memory = f"{one['peak_bytes'] / 1e6:,.0f} MB"
        rows.append((*named, f"{one['frames_per_s']:.1f}", f"{one['window_ms']:.0f}", shape, memory))
    header = ("network", "precision", "device", "frames/s", "ms a window", "window", "peak memory")
    return TableRows(header, tuple(rows), note=f"median windows, new frames only; {machine_line(content)}")


def twin_table(content: Content) -> TableRows:
    found = content["results"]["twin"]
    rows = (
        ("openloger", f"{found['pipelined_frames_per_s']:.1f} frames/s"),
        ("naive twin", f"{found['naive_frames_per_s']:.1f} frames/s"),
        ("ratio, median", f"×{found['ratio']:.3f}"),
        ("ratio, least to most", f"×{found['ratio_least']:.3f} to ×{found['ratio_most']:.3f}"),
        ("network busy", f"{100 * found['network_busy']:.0f} %"),
        ("same result", _same(found)),
    )
    note = f"{found['frames']} frames, {found['repeats']} runs each, by turns; {machine_line(content)}"
    return TableRows(("what", "value"), rows, frozenset({2}), note)


def soak_table(content: Content) -> TableRows:
    found = content["results"]["soak"]
    targets, span = found["targets"], f"{found['span']:,}"
    rows = (
        ("frames", f"{found['frames']:,}"),
        ("seconds", f"{found['seconds']:.1f}"),
        ("frames/s", f"{found['frames_per_s']:.1f}"),
        (f"ms a frame, first {span}", f"{found['first_ms']:.3f}"),
        (f"ms a frame, last {span}", f"{found['last_ms']:.3f}"),
        (f"last / first (≤ {targets['time_ratio']})", f"×{found['time_ratio']:.3f}"),
        ("the same in processor time", f"×{found['cpu_ratio']:.3f}"),
        (f"peak memory at frame {span}", f"{found['peak_bytes_after_span'] / 1e6:.1f} MB"),
        ("peak memory", f"{found['peak_bytes'] / 1e6:.1f} MB"),
        (f"growth (≤ {100 * targets['peak_growth']:g} %)", f"{100 * found['peak_growth']:+.2f} %"),
    )
    return TableRows(("what", "value"), rows, note=machine_line(content))


def _same(found: Mapping[str, Any]) -> str:
    if found["identical"]:
        return "yes, to the bit"
    if found["camera_difference"] is None:
        return "no: different numbers of frames"
    bounds = f"cameras within {found['camera_difference']:.1e}, depth within {found['depth_difference']:.1e}"
    return f"yes: {bounds}" if found["agree"] else f"no: {bounds}"


TABLES: dict[str, Callable[[Content], TableRows]] = {
    "length": length_table,
    "stages": stages_table,
    "presets": presets_table,
    "twin": twin_table,
    "soak": soak_table,
}


def table(content: Content) -> TableRows:
    """Of what `openloger bench` measured."""
    return TABLES[content["benchmark"]](content)


def markdown(rows: TableRows) -> str:
    """The same table for a page of Markdown."""
    lines = [rows.header, ("---", *["---:"] * (len(rows.header) - 1)), *rows.rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{rows.note}" if rows.note else text
