"""The dashboards, the recording rules and the alerts of dotflow, as code. `python grafana/generate.py` writes them.

Here: one module a dashboard, the rules, and what they share. Not here: the names of metrics and labels
(`dotflow.names.metrics`), the files that are generated (`grafana/dashboards/`, `stack/prometheus/`), and what servers need (`stack/`).
"""
