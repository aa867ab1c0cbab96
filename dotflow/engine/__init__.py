"""What drives a run: the coordinator, and what it needs to keep its promises to storage, providers and the program.

Here: who decides what is ready, who is called when, what is kept for a resume, how a run ends. Not here: how an attempt
is executed (`executors`), what a word means (`model`), what a provider is (`abc`). Only `dotflow.workflow` imports it.
"""
