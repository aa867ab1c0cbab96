"""Contexts in Redis: `Config(storage=StorageRedis(host="localhost"))`.

Here: the server behind a storage, and how contexts are kept in it. Not here: how a context becomes bytes
(`dotflow.toolkit.envelope`). Never imports the engine or another provider.
"""

from dotflow.toolkit.extras import needing

with needing("StorageRedis", "redis"):
    from dotflow_redis.storage import StorageRedis

__all__ = ["StorageRedis"]
