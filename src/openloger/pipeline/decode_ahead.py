"""The source as the stream reads it: undistorted, at the network's size, decoded in a thread ahead of the network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from openloger.errors import BadFrameError, InputError
from openloger.frames import resized
from openloger.frames.lenses import undistorted
from openloger.frames.masks import Masks, masked
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import CameraRig, view_intrinsics
from openloger.pipeline.resume import RecordedPrefix
from openloger.runtime.prefetch import prefetch
from openloger.streaming import RigStream, Stream, network_size
from openloger.values import Frame, FrameSource


class DecodedAhead:
    """A FrameSource, once: the source's frames from where the stream stands, at the network's size, decoded ahead.

    Those that a live source gave `before` come first, from what was recorded. A frame that cannot be decoded ends it
    like the video's end; `error` then holds the reason. Of a source with a known `camera` the frames are its views, of
    a rig all of each picture. What `masks` hide is grey from here on.
    """

    def __init__(
        self,
        source: FrameSource,
        stream: Stream | RigStream,
        before: RecordedPrefix,
        *,
        depth: int,
        camera: CameraModel | CameraRig | None = None,
        masks: Masks | None = None,
    ) -> None:
        self.name, self.camera = source.name, camera
        self.error: BadFrameError | None = None
        self._stream = stream
        recorded = before.unseen
        first = recorded[-1].index + 1 if recorded else stream.state.next_index
        source = source if masks is None else masked(source, masks)
        views = source if camera is None else undistorted(source, camera, then_size=self._fit)
        self.length = views.length
        self._ready = prefetch(before.continue_with(resized(views, self._fit).frames(first)), depth=depth)
        self._recorded, self._head = recorded, list(islice(self._ready, 1))  # its size is needed before the run begins
        known = self._head or recorded or stream.state.pending_frames
        if not known:
            raise InputError(f"{self.name} gave no frame to reconstruct")
        self.size = known[0].rgb.shape[:2]
        self.source_size = known[0].native_size  # (height, width) of the source's pictures, or of their views
        self.masks = self._identity(masks or Masks(), known[0])

    @staticmethod
    def _identity(masks: Masks, first: Frame) -> dict[str, Any] | None:
        """By which a run that is continued recognises its masks; None where nothing is masked."""
        if masks == Masks():
            return None if first.mask is None else {"given": True}
        return masks.identity()

    @property
    def known_intrinsics_px(self) -> tuple[float, float, float, float] | None:
        """fx, fy, cx, cy of frames of `source_size`, where the camera is known."""
        if self.camera is None:
            return None
        camera = self.camera.views[0] if isinstance(self.camera, CameraRig) else self.camera
        intrinsics = view_intrinsics(camera, self.source_size)
        fx, fy, cx, cy = (intrinsics[at].item() for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return fx, fy, cx, cy

    def frames(self, first: int = 0) -> Iterator[Frame]:
        try:
            for frame in chain(self._recorded, self._head, self._ready):
                if frame.index >= first:
                    yield frame
        except BadFrameError as error:
            self.error = error

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def close(self) -> None:
        """Let the decoding thread go."""
        self._ready.close()

    def _fit(self, height: int, width: int) -> tuple[int, int]:
        return self._stream.size or network_size(height, width, self._stream.network.config)
