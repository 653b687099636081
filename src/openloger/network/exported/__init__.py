"""A network outside of torch: one window a step, with the memory as explicit inputs and outputs.

`export_network` writes two graphs, of a first window and of a steady one, in a folder that describes itself;
`OnnxNetwork` runs them in ONNX Runtime wherever a stream takes a network. Networks of patches can be exported (`loger`,
`loger-star`, `pi3`, `pi3x`, `pocket`). The geometric camera of `compact` cannot: it chooses edges by what it finds and
solves linear systems, for which ONNX has no operators.
"""

from openloger.network.exported.description import ExportDescription, is_exported
from openloger.network.exported.onnx_network import OnnxNetwork
from openloger.network.exported.write import check_export, export_network

__all__ = ["ExportDescription", "OnnxNetwork", "check_export", "export_network", "is_exported"]
