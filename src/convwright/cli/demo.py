"""`convwright demo`."""

from functools import partial

from convwright.api.demo import demo as run_demo
from convwright.cli.design import check, design_in_process_time
from convwright.cli.generate import command

demo = command(run_demo, name="demo", call=partial(design_in_process_time, run_demo), after=check)
