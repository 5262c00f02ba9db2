"""Fixtures that tests of designs share with those of studies."""

from ..databases import postgres as postgres
