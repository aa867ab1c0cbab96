"""The engine: a coordinator that owns all state, and an attempt runner that knows nothing of it."""
