"""Writes runnable benchmark models.

usage: fill_models.py OUT [NAME...]

`testsuite/models/NAME.onnx` holds a graph whose weights are notes, "normal MEAN STD" or "positive MEAN STD", in place of
numbers. Each weight is drawn from a generator seeded with the weight's name, so that every machine writes the same file.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

MODELS = Path(__file__).resolve().parent.parent / "models"


def draw(tensor):
    """Replaces a note by numbers; a tensor without one stays."""
    note = tensor.doc_string.split()
    if len(note) != 3 or note[0] not in ("normal", "positive"):
        return
    mean, deviation = float(note[1]), float(note[2])
    generator = np.random.default_rng(zlib.crc32(tensor.name.encode()))
    numbers = generator.standard_normal(tuple(tensor.dims), dtype=np.float32) * deviation + mean
    numbers = numbers.astype(np.float32)
    if note[0] == "positive":
        numbers = np.abs(numbers) + 1e-3
    tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))


def graphs(graph):
    """A graph and its subgraphs."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from graphs(inner)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or sorted(path.stem for path in MODELS.glob("*.onnx")):
        target = out / f"{name}.onnx"
        if target.exists():
            continue
        model = onnx.load(MODELS / f"{name}.onnx")
        for graph in graphs(model.graph):
            for tensor in graph.initializer:
                draw(tensor)
        onnx.save(model, target)


main()
