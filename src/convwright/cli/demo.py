"""`convwright demo`."""

from convwright.api.demo import demo as run_demo
from convwright.cli.design import check
from convwright.cli.generate import command

demo = command(run_demo, name="demo", after=check)
