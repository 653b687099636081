"""Ablations: which runs (plan.py), each in a process of its own (run.py), and their table and curves (report.py)."""
