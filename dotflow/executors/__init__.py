"""Where attempts run: in line, in threads, in worker processes, in an executor of the user's own, on a Dask cluster.

Here: the seam (`base`), one attempt and its outcome, how it travels (`payload`, `remote`, `protocol`), and which executor a
mode comes to (`selection`). Not here: runs, retries, storage and providers: an executor knows one attempt at a time.
Imports the words and the contracts, never the engine.
"""
