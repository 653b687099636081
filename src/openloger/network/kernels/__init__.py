"""Which kernels a network runs with: measured once on each machine, kept, and recorded with what they computed.

`calibration.py` measures, by `sample.py` and `turns.py`; `kept.py` keeps; `choice.py` is the choice, and `use.py` makes
a network follow it. `Network` itself needs `choice.py` alone, so nothing is imported here.
"""
