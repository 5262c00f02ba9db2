"""Engines leave the handling of signals as it was: a run that is trained after a prediction still stops on Ctrl-C."""

import subprocess
import sys

import pytest
from tests.subjects import trained_run

SCRIPT = """
import faulthandler, gc, signal, sys, threading
import numpy as np
import convwright as cw
from convwright.training.interrupt import StopSignal

faulthandler.enable()
files = [sys.argv[2] + "/" + name for name in ("a.xml", "b.xml", "whole.xml", "int8.xml")]
for file, options in zip(files, ({}, {}, {"input": "image"}, {"int8": True})):
    cw.export(sys.argv[1], file, **{"input": "tensor"} | options)
opened = [cw.load(file, engine="openvino") for file in files]
for number in range(4):
    opened[number].predict(np.zeros((8, 8), np.uint8))
del opened[0]  # in another order than they were opened
gc.collect()
thread = threading.Thread(target=opened.clear)
thread.start()
thread.join()
gc.collect()
with StopSignal() as stop:
    signal.raise_signal(signal.SIGINT)
    print("stopped by", stop.requested)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_is_noticed_after_files_have_been_used(tmp_path):
    for package in ("openvino", "nncf"):
        pytest.importorskip(package)
    run = trained_run()
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, run, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["stopped by 2"]), done.stderr
