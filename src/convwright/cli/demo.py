"""`convwright demo`."""

from functools import partial

from convwright.api.demo import demo as run_demo
from convwright.cli.design import check, whole_process
from convwright.cli.generate import command

demo = command(run_demo, name="demo", call=partial(whole_process, run_demo), after=check)
