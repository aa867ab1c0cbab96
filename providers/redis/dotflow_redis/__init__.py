"""Contexts in Redis: `Config(storage=StorageRedis(host="localhost"))`."""

from dotflow.toolkit.extras import needing

with needing("StorageRedis", "redis"):
    from dotflow_redis.storage import StorageRedis

__all__ = ["StorageRedis"]
