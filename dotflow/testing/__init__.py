"""For the tests of those who use dotflow: a clock and ids that can be foreseen, and providers that record."""

from dotflow.testing.clock import FakeClock, SequentialIds

__all__ = ["FakeClock", "SequentialIds"]
