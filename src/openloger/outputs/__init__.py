"""Where results are written: whole or not at all, and never over a file that openloger cannot prove it wrote.

Every writer of the package (exports, pages, worlds, training, measurements) goes through this room.
"""

from openloger.outputs.atomic import (
    make_folder,
    partial_of,
    prepare,
    put_in_place,
    replace_whole,
    sync_file,
    write_atomically,
)
from openloger.outputs.lock import FileLock, one_at_a_time
from openloger.outputs.manifest import (
    MANIFEST,
    damaged_file,
    is_clutter,
    is_ours,
    record_file,
    record_folder,
    remove_folder,
)
from openloger.outputs.staging import check_place, remove_drafts, staged_file, staged_folder, write_output
from openloger.outputs.successive import replace_file, replace_folder, set_aside

__all__ = [
    "MANIFEST",
    "FileLock",
    "check_place",
    "damaged_file",
    "is_clutter",
    "is_ours",
    "make_folder",
    "one_at_a_time",
    "partial_of",
    "prepare",
    "put_in_place",
    "record_file",
    "record_folder",
    "remove_drafts",
    "remove_folder",
    "replace_file",
    "replace_folder",
    "replace_whole",
    "set_aside",
    "staged_file",
    "staged_folder",
    "sync_file",
    "write_atomically",
    "write_output",
]
