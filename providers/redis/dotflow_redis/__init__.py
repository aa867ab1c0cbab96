"""Contexts in Redis: `Config(storage=StorageRedis(host="localhost"))`."""

from dotflow_redis.storage import StorageRedis

__all__ = ["StorageRedis"]
