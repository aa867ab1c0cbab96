"""Contexts wherever fsspec reaches: `Config(storage=StorageFsspec("s3://bucket/path"))`.

Here: the file system behind a URL, and how contexts are kept in it. Not here: how a context becomes bytes
(`dotflow.toolkit.envelope`), and the packages of the services. Never imports the engine or another provider.
"""

from dotflow.toolkit.extras import needing

with needing("StorageFsspec", "fsspec"):
    from dotflow_fsspec.filesystem import MissingFilesystem
    from dotflow_fsspec.storage import StorageFsspec

__all__ = ["MissingFilesystem", "StorageFsspec"]
