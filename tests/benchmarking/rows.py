"""Measurements and exports as if engines had taken a given time."""

from dataclasses import replace

from convwright.benchmarking.job import Setting
from convwright.benchmarking.measuring import Measurement
from convwright.benchmarking.network_bench import BenchRow
from convwright.engines.card import EngineCheck, Verification
from convwright.exporting.agreement import Agreement
from convwright.exporting.result import ExportResult
from convwright.exporting.subject import Subject
from convwright.exporting.writing import draft, write_draft
from convwright.prediction.network import load


def row(engine, seconds, accuracy, precision="f32"):
    agreement = Agreement(100, 0.0, 1.0, accuracy, accuracy, (0.0, 0.0, 0.0))
    return BenchRow(Measurement(Setting(engine, precision, 1, 1), (seconds,) * 3), agreement)


def exported(run, folder, suffix, milliseconds, precision="f32"):
    """Export the run, as if one engine had taken so long."""
    path = folder / f"any{suffix}"
    engine, format = {".onnx": ("onnxruntime", "onnx"), ".safetensors": ("torch", "torch")}[suffix]
    verified = Verification(engines={engine: EngineCheck(milliseconds)})
    made = draft(Subject(load(run), str(run)), format, folder=folder)
    card = write_draft(made, path, replace(made.card, precision=precision, verified=verified))
    return ExportResult(path, (path,), card, {engine: Agreement(4, 0.0, 1.0, 0.9, 0.9, (0, 0, 0))}, 7)
