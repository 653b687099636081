"""ONNX Runtime Web, which the page runs its network with: files of an npm package, of one version, known by hashes.

They are 41 MB and not part of this package. `npm pack` fetches them when a page is written, or a folder has them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openloger.errors import InputError

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = {  # of its dist/, with their SHA-256: for the CPU, and for WebGPU
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
_SPEC = f"{PACKAGE}@{VERSION}"
_WAY_OUT = f"run `npm install {_SPEC}` where there is npm and network, and give --runtime node_modules/{PACKAGE}"
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Runtime:
    """The files of ONNX Runtime Web that a page needs, by name."""

    files: dict[str, bytes]

    def write(self, folder: Path) -> None:
        """Into a folder that exists."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def find_runtime(folder: Path | None = None) -> Runtime:
    """Read the runtime from `folder`, an installed npm package or its `dist`; without one, fetch it by `npm pack`.

    Raises InputError where the folder lacks a file, or has one of another version, and where npm is not there, fails
    or gives a package other than the one whose hash is known.
    """
    return _packed() if folder is None else _installed(folder)


def _installed(folder: Path) -> Runtime:
    package = folder / "package.json"
    found = _version(package) if package.is_file() else VERSION
    if found != VERSION:
        raise InputError(f"{folder} is {PACKAGE} {found}, and the page is made for {VERSION}: {_WAY_OUT}")
    dist = folder / "dist" if (folder / "dist").is_dir() else folder
    files: dict[str, bytes] = {}
    for name in FILES:
        try:
            files[name] = (dist / name).read_bytes()
        except OSError as error:
            raise InputError(f"{dist / name} cannot be read ({error.strerror}): {_WAY_OUT}") from error
    return _checked(files, str(dist))


def _version(package: Path) -> Any:
    try:
        return json.loads(package.read_bytes()).get("version")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{package} is no package.json of npm: {_WAY_OUT}") from error


def _packed() -> Runtime:
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"there is no npm here, which fetches {_SPEC} for the page: {_WAY_OUT}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", _SPEC, "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"npm did not fetch {_SPEC} within {_TIMEOUT_S} s: {_WAY_OUT}") from error
        archives = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            reason = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise InputError(f"npm could not fetch {_SPEC} ({reason}): {_WAY_OUT}")
        return _unpacked(archives[0].read_bytes())


def _unpacked(archive: bytes) -> Runtime:
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != INTEGRITY:
        raise InputError(f"npm gave another {_SPEC} than the one that is known ({found}): {_WAY_OUT}")
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for name in FILES:
            member = tar.extractfile(f"package/dist/{name}")
            assert member is not None, "the archive is the known one"
            files[name] = member.read()
    return _checked(files, _SPEC)


def _checked(files: dict[str, bytes], where: str) -> Runtime:
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != FILES[name]:
            raise InputError(f"{name} in {where} is not that of {_SPEC}: {_WAY_OUT}")
    return Runtime(files)
