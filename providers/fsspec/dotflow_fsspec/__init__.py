"""Contexts wherever fsspec reaches: `Config(storage=StorageFsspec("s3://bucket/path"))`."""

from dotflow.toolkit.extras import needing

with needing("StorageFsspec", "fsspec"):
    from dotflow_fsspec.filesystem import MissingFilesystem
    from dotflow_fsspec.storage import StorageFsspec

__all__ = ["MissingFilesystem", "StorageFsspec"]
