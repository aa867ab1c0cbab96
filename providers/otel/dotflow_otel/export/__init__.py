"""What the three signals share on their way out.

Here: the target, deliveries and their losses, the file of OTLP JSON lines. Not here: anything that only one signal needs.
Imports none of their folders.
"""
