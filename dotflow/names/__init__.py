"""Every name that telemetry carries, written down once: of spans and attributes, of metrics and labels, of log fields.

Here: constants. Not here: what is done with them. Dashboards, rules, tests and providers read them from here.
"""
