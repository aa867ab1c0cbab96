"""The dashboards, the recording rules and the alerts of dotflow, as code. `python grafana/generate.py` writes them."""
