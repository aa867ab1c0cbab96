"""The vocabulary of the telemetry: every name stands here, once. Providers, docs, dashboards and tests read it."""
