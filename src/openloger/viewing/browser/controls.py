"""The page's controls: built once, then read as one value in each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from openloger.shapes import Float64, UInt8
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.overview import MOST_EDGE
from openloger.viewing.scene.points import EDGE_STEP

if TYPE_CHECKING:
    from viser import GuiApi

RgbImage = UInt8[np.ndarray, "height width 3"]
Following = Literal["orbit", "follow", "through"]
SPEEDS = {"¼×": 0.25, "½×": 0.5, "1×": 1.0, "2×": 2.0, "4×": 4.0, "16×": 16.0}
DEEPEST = 20.0  # median depths: the slider's end, which means no limit
_PICTURE_WIDTH = 300  # pixels
_NO_DRIFT = "Windows share frames. Their disagreement is shown from the third window on."
_DRIFT = (
    "How far a window is from the one before, on the frames that both saw. What stays low hardly drifts; "
    "a peak is a place to look at."
)
_KEYS = """
| key | |
|---|---|
| space | play, pause |
| J, L | a frame back, on (shift: a second) |
| home, end | first, last frame |
| F | orbit, follow, through the camera |
| H | whole scene in view |
| U, I | from above, from the side |
| C | next colouring |
| N | up to now, everything, this frame |
| B | points, splats, mesh |
| O | what is overhead: ceilings, sky |
| G, T | ground, ground truth |
| M | measure |
| P | picture of the view |
| W A S D Q E, arrows | move, turn |
| Ctrl K | all commands |
"""


@dataclass(frozen=True)
class Page:
    """The requests of the page at a moment."""

    settings: Settings
    following: Following
    path: bool
    frusta: bool
    ground: bool
    truth: bool
    measuring: bool
    second_picture: Literal["depth", "confidence", "mask"]
    recorded: bool  # the path before it was corrected, and the loops that were closed


class Controls:
    """The widgets of one browser window. `request` gets the name of what a button or key wants, and its event."""

    def __init__(
        self,
        gui: GuiApi,
        *,
        edge_max: float,
        has_truth: bool,
        request: Callable[[str, Any], None],
        has_masks: bool = False,
    ) -> None:
        self._gui, self._request = gui, request
        self._put_frame = 0  # where the slider was put last; it stands elsewhere when somebody moves it
        self._state = gui.add_markdown("opening ...")
        self._build_timeline()
        tabs = gui.add_panel()  # of its own, so that a small screen begins with it closed
        tabs.dock_below(gui.main_panel)
        with tabs.add_tab("Scene"):
            self._build_scene(edge_max, has_truth, has_masks)
        with tabs.add_tab("Tools"):
            self._build_tools()
        with tabs.add_tab("Drift"):
            self._drift_note = gui.add_markdown(_NO_DRIFT)
            self._drift: dict[str, Any] = {}
            self._drift_folder = gui.add_folder("over time", visible=False)
        with tabs.add_tab("About"):
            self._about = gui.add_markdown("")
            gui.add_markdown(_KEYS)
        self._bind_keys()

    def _build_timeline(self) -> None:
        gui = self._gui
        self._picture = gui.add_image(np.zeros((9, 32, 3), np.uint8), format="jpeg", jpeg_quality=85, visible=False)
        self._caption = gui.add_markdown("")
        self._frame = gui.add_slider("frame", 0, 1, 1, 0)
        self._transport = gui.add_button_group("time", ("|◀", "◀", "▶ ❚❚", "▶", "▶|"))
        moves = {"|◀": "first", "◀": "back", "▶ ❚❚": "play", "▶": "on", "▶|": "last"}
        self._transport.on_click(lambda event: self._request(moves[event.target.value], event))
        self._speed = gui.add_dropdown("speed", tuple(SPEEDS), initial_value="1×")

    def _build_scene(self, edge_max: float, has_truth: bool, has_masks: bool) -> None:
        gui = self._gui
        self._following = gui.add_dropdown("camera", ("orbit", "follow", "through"))
        self._extent = gui.add_dropdown("show", ("up to now", "everything", "this frame"))
        self._style = gui.add_dropdown("draw as", ("points", "splats", "mesh"))
        self._mesh_note = gui.add_markdown("", visible=False)
        self._colouring = gui.add_dropdown("colour", ("picture", "height", "time", "confidence"))
        self._confidence = gui.add_slider("confidence", 0.0, 1.0, 0.01, 0.1, hint="least confidence of a point")
        self._edge = gui.add_slider(
            "edges",
            0.0,
            MOST_EDGE,
            EDGE_STEP,
            edge_max,
            hint="largest relative step of depth around a point; at the end, any",
        )
        with gui.add_folder("region"):  # its margin keeps the right ends of sliders from under the scrollbar
            self._depth = gui.add_multi_slider(
                "depth", 0.0, DEEPEST, 0.1, (0.0, DEEPEST), hint="distance from its camera, in median depths"
            )
            self._height = gui.add_multi_slider(
                "height", 0.0, 1.0, 0.01, (0.0, 1.0), hint="from the lowest to the highest: cut a ceiling off"
            )
            self._overhead = gui.add_checkbox(
                "overhead", True, hint="what is over the cameras that saw it: ceilings, sky, tree tops"
            )
        self._suggested = True
        self._size = gui.add_slider("point size", 0.2, 3.0, 0.05, 1.0)
        self._path = gui.add_checkbox("path", True)
        self._frusta = gui.add_checkbox("cameras", True)
        self._path_colouring = gui.add_dropdown("path colour", ("time", "confidence"))
        self._ground = gui.add_checkbox("ground", True)
        self._truth = gui.add_checkbox("ground truth", has_truth, visible=has_truth)
        self._truth_note = gui.add_markdown("", visible=has_truth)
        self._recorded = gui.add_checkbox(
            "as recorded", False, visible=False, hint="the path before it was corrected, and the loops that were closed"
        )
        beside = ("depth", "confidence", "mask") if has_masks else ("depth", "confidence")
        self._second = gui.add_dropdown("beside the picture", beside)

    def _build_tools(self) -> None:
        gui = self._gui
        self._measuring = gui.add_checkbox("measure between two clicks", False)
        self._measured = gui.add_markdown("")
        for label, wish, hint in (
            ("Whole scene in view", "home", None),
            ("From above", "above", "scene and path, the path's longest way from left to right"),
            ("From the side", "side", "scene and path, the path's longest way from left to right"),
            ("Picture of the view", "snapshot", "PNG, as large as the window"),
            (
                "What is shown, as a file",
                "shown",
                "what sliders and timeline leave: points, splats as PLY, mesh as GLB",
            ),
            ("Page to share", "share", "one HTML file that needs no server"),
        ):
            gui.add_button(label, hint=hint).on_click(lambda event, wish=wish: self._request(wish, event))
        self._export = gui.add_markdown("")

    def _bind_keys(self) -> None:
        for label, wish, key, modifier in (
            ("Play or pause", "play", "space", None),
            ("A frame back", "back", "J", None),
            ("A frame on", "on", "L", None),
            ("A second back", "second back", "J", "shift"),
            ("A second on", "second on", "L", "shift"),
            ("First frame", "first", "home", None),
            ("Last frame", "last", "end", None),
            ("Orbit, follow, through the camera", "following", "F", None),
            ("Whole scene in view", "home", "H", None),
            ("From above", "above", "U", None),
            ("From the side", "side", "I", None),
            ("Next colouring", "colouring", "C", None),
            ("Up to now, everything, this frame", "extent", "N", None),
            ("Points, splats, mesh", "style", "B", None),
            ("What is overhead", "overhead", "O", None),
            ("Ground", "ground", "G", None),
            ("Ground truth", "truth", "T", None),
            ("Measure", "measuring", "M", None),
            ("Picture of the view", "snapshot", "P", None),
        ):
            command = self._gui.add_command(label, hotkey=key, modifier=modifier)  # pyright: ignore[reportArgumentType]
            command.on_trigger(lambda event, wish=wish: self._request(wish, event))

    def page(self, frame: int) -> Page:
        """The current settings, at a frame."""
        (nearest, furthest), (low, high) = self._depth.value, self._height.value
        self._label_ranges()
        edge = float(self._edge.value)
        settings = Settings(
            frame=frame,
            extent=self._extent.value,  # pyright: ignore[reportArgumentType]
            style=self._style.value,  # pyright: ignore[reportArgumentType]
            colouring=self._colouring.value,  # pyright: ignore[reportArgumentType]
            confidence_min=float(self._confidence.value),
            edge_max=None if edge >= self._edge.max else edge,
            depth_range=(float(nearest), np.inf if furthest >= DEEPEST else float(furthest)),
            height_range=(float(low), float(high)),
            overhead=self._overhead.value,
            point_size=float(self._size.value),
            path_colouring=self._path_colouring.value,  # pyright: ignore[reportArgumentType]
        )
        return Page(
            settings=settings,
            following=self._following.value,  # pyright: ignore[reportArgumentType]
            path=self._path.value,
            frusta=self._frusta.value,
            ground=self._ground.value,
            truth=self._truth.value,
            measuring=self._measuring.value,
            second_picture=self._second.value,  # pyright: ignore[reportArgumentType]
            recorded=self._recorded.value,
        )

    def _label_ranges(self) -> None:
        """The numbers of the two-ended sliders, which show none themselves."""
        for slider, name, written in (
            (self._depth, "depth", lambda value: "any" if value >= DEEPEST else f"{value:.1f}"),
            (self._height, "height", lambda value: f"{100 * value:.0f} %"),
        ):
            low, high = slider.value
            label = f"{name} {written(low)} to {written(high)}"
            if slider.label != label:
                slider.label = label

    def offer_correction(self, offered: bool) -> None:
        """Whether there is a path as recorded to be shown."""
        if self._recorded.visible != offered:
            self._recorded.visible = offered

    def show_mesh_note(self, text: str) -> None:
        """How far the mesh is; none where it is not drawn."""
        if self._mesh_note.content != text:
            self._mesh_note.content = text
        if self._mesh_note.visible != bool(text):
            self._mesh_note.visible = bool(text)

    def suggest(self, *, overhead: bool) -> None:
        """Whether to show what is overhead, as long as nobody chose that himself."""
        if self._overhead.value == self._suggested != overhead:
            self._overhead.value = self._suggested = overhead

    @property
    def speed(self) -> float:
        """Of playing, over the video's."""
        return SPEEDS[self._speed.value]

    def moved_to(self) -> int | None:
        """Where somebody moved the timeline; None: nobody did."""
        frame = int(self._frame.value)
        if frame == self._put_frame:
            return None
        self._put_frame = frame
        return frame

    def move_to(self, frame: int, *, last: int) -> None:
        """Put the timeline there."""
        if self._frame.max != max(last, 1):
            self._frame.max = max(last, 1)
        if frame != self._put_frame:
            self._put_frame = frame
            self._frame.value = frame

    def cycle(self, wish: str) -> None:
        """The effect of a key on a dropdown or a checkbox."""
        widget = {
            "following": self._following,
            "colouring": self._colouring,
            "extent": self._extent,
            "style": self._style,
            "overhead": self._overhead,
            "ground": self._ground,
            "truth": self._truth,
            "measuring": self._measuring,
        }[wish]
        if isinstance(widget.value, bool):
            widget.value = not widget.value
        else:
            options = list(widget.options)
            widget.value = options[(options.index(widget.value) + 1) % len(options)]

    def show_frame(self, text: str, left: RgbImage, right: RgbImage) -> None:
        """The frame's picture, its depth or confidence beside it, and its caption."""
        left, right = _enlarged(left), _enlarged(right)
        gap = np.full((left.shape[0], max(1, left.shape[1] // 40), 3), 26, np.uint8)
        self._picture.image = np.concatenate([left, gap, right], 1)
        self._picture.visible = True
        self._caption.content = text

    def show_notes(self, **notes: str) -> None:
        """Texts by place: state, about, truth, measured, export."""
        places = {
            "state": self._state,
            "about": self._about,
            "truth": self._truth_note,
            "measured": self._measured,
            "export": self._export,
        }
        for place, text in notes.items():
            if places[place].content != text:
                places[place].content = text

    def show_drift(self, series: dict[str, Float64[np.ndarray, " window"]]) -> None:
        """The drift meter: one plot a quantity, over seconds."""
        times_s = series["time"]
        if len(times_s) < 2:
            return
        self._drift_note.content = _DRIFT
        self._drift_folder.visible = True
        for name, label in (("depth", "depth, %"), ("rotation", "rotation, degrees"), ("translation", "translation")):
            data = (times_s, series[name])
            if name in self._drift:
                self._drift[name].data = data
                continue
            with self._drift_folder:
                self._drift[name] = self._gui.add_uplot(
                    data,
                    ({"label": "seconds"}, {"label": label, "stroke": "#f6a03c", "width": 1.5}),
                    title=label,
                    aspect=2.2,
                    scales={"x": {"time": False}},
                    legend={"show": False},
                )


def _enlarged(picture: RgbImage) -> UInt8[np.ndarray, "tall wide 3"]:
    """So that two of them fill the panel."""
    from PIL import Image

    height, width = picture.shape[:2]
    if width >= _PICTURE_WIDTH:
        return picture
    size = (_PICTURE_WIDTH, round(height * _PICTURE_WIDTH / width))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
