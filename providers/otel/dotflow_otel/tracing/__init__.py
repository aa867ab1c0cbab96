"""Spans: the tracer, their attributes and ids, the pipeline that sends them, and the half of it that goes to workers."""
