"""`SchedulerInterval`, `SchedulerCron` and `Schedules`: when a workflow is started again.

Here: ticks, calendars, overlap, signals. Not here: what a run of a schedule is (`dotflow.engine.scheduled`).
"""
