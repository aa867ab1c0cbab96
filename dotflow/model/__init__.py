"""The words of a workflow: what a step, a task, a run, an event, an outcome is, and nothing that drives them.

Here: plain values and what can be asked of them. Not here: who decides what runs (`engine`), where it runs (`executors`),
who is told (`abc`, providers). Imports `names` and `errors`, nothing else of ours.
"""
