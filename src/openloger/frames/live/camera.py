"""Cameras of this machine, by number: what they are called where it runs."""

from __future__ import annotations

import sys
from pathlib import Path

from openloger.errors import InputError
from openloger.frames.live.network_stream import Address

DEVICES = Path("/dev")
_CAPTURE = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


def by_number(number: int, *, patience_s: float) -> Address:
    """Raises InputError where there is none of that number, or PyAV cannot capture here."""
    capture = capture_format()
    if capture == "v4l2":
        device = DEVICES / f"video{number}"
        if not device.exists():
            raise InputError(f"there is no camera {number} ({device}); {_others()}")
        url = str(device)
    elif capture == "avfoundation":
        url = f"{number}:none"  # no sound
    else:
        url = f"video={_directshow_name(number)}"
    return Address(f"camera {number}", url, format=capture, patience_s=patience_s)


def by_path(path: Path, *, patience_s: float) -> Address:
    """A video device by its path, as Linux has them."""
    if not path.exists():
        raise InputError(f"there is no device {path}; {_others()}")
    return Address(str(path), str(path), format=capture_format(), patience_s=patience_s)


def capture_format() -> str:
    """FFmpeg's name of how cameras are read on this system."""
    import av

    wanted = _CAPTURE.get(sys.platform)
    if wanted is None:
        raise InputError(f"cameras cannot be read on {sys.platform}; pipe the video in and give '-' as the source")
    try:
        av.ContainerFormat(wanted, "r")
    except ValueError:
        raise InputError(
            f"the installed PyAV was built without {wanted}, which reads cameras; use one that has it "
            "(pip install --force-reinstall av), or pipe the video in and give '-' as the source"
        ) from None
    return wanted


def _others() -> str:
    found = sorted(str(path) for path in DEVICES.glob("video*"))
    return f"there are {', '.join(found)}" if found else "no camera is connected, or this machine may not see it"


def _directshow_name(number: int) -> str:
    """DirectShow addresses cameras by name alone."""
    import av

    if not hasattr(av, "enumerate_input_devices"):
        raise InputError("this PyAV cannot list cameras; use a newer one (pip install -U av)")
    found = [one for one in av.enumerate_input_devices("dshow") if "video" in one.media_types]
    if number >= len(found):
        names = ", ".join(repr(one.description) for one in found)
        raise InputError(f"there is no camera {number}; {'there are ' + names if names else 'none is connected'}")
    return found[number].description
