"""`LogStructlog`: the lines of a run as JSON or for a terminal, by structlog.

Here: the provider and how a line is rendered. Not here: which fields a line has (`dotflow.toolkit.log_fields`).
"""
