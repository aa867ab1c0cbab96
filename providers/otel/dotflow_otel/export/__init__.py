"""What the three signals share on their way out: the target, deliveries and their losses, the file of OTLP JSON lines."""
