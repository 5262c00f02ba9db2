"""Fixtures that tests of designs share with those of studies and of commands."""

from ..cli.conftest import convwright as convwright
from ..databases import postgres as postgres
