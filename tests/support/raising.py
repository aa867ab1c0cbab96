"""What is expected of every error of dotflow's own."""

from __future__ import annotations

import pytest

from dotflow import DotflowError


class raises:  # noqa: N801 - stands beside pytest.raises
    """The block raises this error, which derives from DotflowError and the built-in, and whose text matches all."""

    def __init__(self, error, builtin, *texts):
        self.error, self.builtin, self.texts = error, builtin, texts

    def __enter__(self):
        self.context = pytest.raises(self.error)
        self.caught = self.context.__enter__()
        return self.caught

    def __exit__(self, *exception):
        suppressed = self.context.__exit__(*exception)
        assert isinstance(self.caught.value, DotflowError)
        assert isinstance(self.caught.value, self.builtin)
        for text in self.texts:
            assert text in str(self.caught.value)
        return suppressed
