"""A page that reconstructs in the browser: a static folder with an exported network, ONNX Runtime Web and the page.

- `build`: the folder, as files that this package has (`site/`), an exported network, and the runtime.
- `runtime`: ONNX Runtime Web, from npm, of one version whose files are known by their hashes.
- `serve`: a local server with the headers that threads in a browser need.

The page's modules do what `streaming`, `network.exported` and `export.selection` do, and are tested beside them.
"""

from openloger.webdemo.build import DemoSettings, check_clip, check_demo, write_web_demo
from openloger.webdemo.runtime import Runtime, find_runtime
from openloger.webdemo.serve import DemoServer

__all__ = ["DemoServer", "DemoSettings", "Runtime", "check_clip", "check_demo", "find_runtime", "write_web_demo"]
