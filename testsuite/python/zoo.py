"""Runs models as frameworks export them on nnc beside ONNX Runtime, and writes what came out as a page.

usage: zoo.py NNC FOLDER [NAME...] [--targets T,...] [--page FILE]

FOLDER holds NAME.onnx, and beside it NAME.json if its inputs are described:

    {"tolerance": 1e-4, "inputs": {"A": {"x": {"dtype": "float32", "shape": [1, 3], "normal": [0, 1]}}, "B": {...}}}

"normal" MEAN STD, "uniform" LOW HIGH and "integers" LOW HIGH are drawn from a generator seeded with the input's name;
"values" lists them. Without a description, inputs are made up at two sizes. A weight without data whose doc_string says
"normal MEAN STD", "positive MEAN STD" or "integers LOW HIGH" is filled likewise, so that a folder can do without large files.

One artifact a target must give ONNX Runtime's answers at both sets of inputs, on one thread and on two, and the same bits
on both. The reference is ONNX Runtime without its optimizer; where it differs from itself with it, five times that is
allowed. Quantised models may be off by 3e-2: a tie that is rounded otherwise moves a value by a step.

A verdict for each model: pass; wrong; refused (exit code 2: nnc cannot compile it); failed (any other exit code of nnc);
skipped (ONNX Runtime cannot run it, or disagrees with itself). Exit code 1 when a model is wrong or failed.
"""

import argparse
import collections
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from compare_models import error, session
from onnx import numpy_helper

# Seconds that a command of nnc may take.
LIMIT = 300
# What is allowed where the description does not say, and for quantised models.
TOLERANCE, QUANTISED = 1e-3, 3e-2
# The most that ONNX Runtime may differ from itself to be believed.
NOISE = 1e-2
# Sizes of free dimensions by words in their names; of others, the last.
SIZES = {"A": {"batch": 1, "height": 64, "width": 64, "": 16}, "B": {"batch": 2, "height": 96, "width": 96, "": 24}}
THREADS = (1, 2)
VERDICTS = ("pass", "wrong", "failed", "refused", "skipped")


def seeded(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def fill(tensor):
    """Gives a weight the data that its doc_string describes, if it does."""
    kind, *parameters = tensor.doc_string.split() or [""]
    if kind not in ("normal", "positive", "integers"):
        return
    generator, shape = seeded(tensor.name), tuple(tensor.dims)
    if kind == "integers":
        values = generator.integers(int(parameters[0]), int(parameters[1]) + 1, shape)
    else:
        mean, deviation = map(float, parameters)
        values = generator.standard_normal(shape, dtype=np.float32) * deviation + mean
        values = np.abs(values) + 1e-3 if kind == "positive" else values
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values).astype(dtype), tensor.name))


def tensors(nodes):
    """The constants of nodes and of the graphs inside of them."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from graph.initializer
                yield from tensors(graph.node)


def filled(path, out):
    """Writes the model with all its weights; yields it."""
    model = onnx.load(path)
    for tensor in [*model.graph.initializer, *tensors(model.graph.node)]:
        fill(tensor)
    for function in model.functions:
        for tensor in tensors(function.node):
            fill(tensor)
    onnx.save(model, out)
    return model


def described(name, spec):
    """The input that a description asks for."""
    shape, generator = tuple(spec["shape"]), seeded("input " + name)
    if spec["dtype"] == "str":
        return np.array(spec["values"], dtype=object).reshape(shape)
    dtype = np.dtype("float32" if spec["dtype"] == "bfloat16" else spec["dtype"])
    if "values" in spec:
        return np.array(spec["values"]).reshape(shape).astype(dtype)
    if "integers" in spec:
        low, high = spec["integers"]
        return generator.integers(low, high + 1, shape).astype(dtype)
    if "uniform" in spec:
        return generator.uniform(*spec["uniform"], shape).astype(dtype)
    mean, deviation = spec["normal"]
    return (generator.standard_normal(shape) * deviation + mean).astype(dtype)


def made_up(value, sizes):
    """An input of a model without a description: noise, or 0 and 1."""
    tensor, generator = value.type.tensor_type, seeded("input " + value.name)
    size = lambda name: next(n for word, n in sizes.items() if word in name.lower())
    shape = [d.dim_value if d.HasField("dim_value") else size(d.dim_param) for d in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if np.issubdtype(dtype, np.floating):
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def input_sets(path, model):
    """Two sets of inputs by name, and the tolerance."""
    description = path.with_suffix(".json")
    if description.exists():
        description = json.loads(description.read_text())
        sets = {key: {n: described(n, spec) for n, spec in s.items()} for key, s in description["inputs"].items()}
        return sets, description.get("tolerance", TOLERANCE)
    constants = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in constants]
    return {key: {value.name: made_up(value, sizes) for value in free} for key, sizes in SIZES.items()}, TOLERANCE


class Refused(Exception):
    """nnc ended with an exit code other than 0."""

    def __init__(self, code, said):
        super().__init__(said)
        self.verdict = "refused" if code == 2 else "failed"


def nnc(*command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Refused(None, f"nnc {command[1]} took longer than {LIMIT} s") from None
    if done.returncode:
        raise Refused(done.returncode, done.stderr.strip().removeprefix("error: ") or f"exit code {done.returncode}")


def references(model, sets):
    """The names of the outputs, inputs and expected outputs of each set, and how far ONNX Runtime is from itself."""
    levels = onnxruntime.GraphOptimizationLevel
    plain, optimized = session(model, 2, levels.ORT_DISABLE_ALL), session(model, 2, levels.ORT_ENABLE_ALL)
    known = {value.name for value in plain.get_inputs()}
    wanted, noise = {}, 0.0
    for key, inputs in sets.items():
        feed = {name: value for name, value in inputs.items() if name in known}
        try:
            outputs = plain.run(None, feed)
            pairs = zip(optimized.run(None, feed), outputs)
        except Exception:  # the exporter fixed a size that this set has otherwise
            continue
        noise = max([noise, *(error(one, other) for one, other in pairs if isinstance(other, np.ndarray))])
        wanted[key] = feed, outputs
    return [value.name for value in plain.get_outputs()], wanted, noise


def run(program, artifact, feed, threads, scratch):
    """The outputs of a run."""
    given, found = scratch / "in.npz", scratch / "out.npz"
    np.savez(given, **{name: v.astype(str) if v.dtype == object else v for name, v in feed.items()})
    nnc(program, "run", artifact, "--inputs", given, "--outputs", found, "--threads", threads)
    return dict(np.load(found))


def compared(program, path, targets, scratch):
    """A row on a model: verdict, largest error, seconds to compile, and what there is to say."""
    row = {"model": path.stem, "verdict": "skipped", "error": None, "seconds": None, "note": ""}
    source = scratch / "model.onnx"
    model = filled(path, source)
    sets, tolerance = input_sets(path, model)
    try:
        names, wanted, noise = references(source, sets)
    except Exception as problem:
        return row | {"note": f"ONNX Runtime: {problem}"}
    if not wanted:
        return row | {"note": "ONNX Runtime runs neither set of inputs"}
    quantised = any("Quantize" in node.op_type for node in model.graph.node)
    if noise > NOISE and not quantised:
        return row | {"note": f"ONNX Runtime differs from itself by {noise:.1e} with and without its optimizer"}
    allowed = max(tolerance, QUANTISED) if quantised else max(tolerance, 5 * noise)
    worst, seconds, changing = 0.0, [], []
    try:
        for target in targets:
            artifact = scratch / f"{target}.so"
            start = time.perf_counter()
            nnc(program, "compile", source, "-o", artifact, "--target", target)
            seconds.append(time.perf_counter() - start)
            for key, (feed, outputs) in wanted.items():
                runs = [run(program, artifact, feed, threads, scratch) for threads in THREADS]
                tensors = [(name, want) for name, want in zip(names, outputs) if isinstance(want, np.ndarray)]
                worst = max([worst, *(error(found[name], want) for found in runs for name, want in tensors)])
                if any(found[n].tobytes() != runs[0][n].tobytes() for found in runs[1:] for n in names):
                    changing.append(f"{target}, inputs {key}")
    except Refused as refused:
        return row | {"verdict": refused.verdict, "note": str(refused).replace(str(source), path.name)}
    row |= {"error": worst, "seconds": max(seconds), "verdict": "pass" if worst <= allowed else "wrong"}
    if changing:
        row |= {"verdict": "wrong", "note": f"the number of threads changes bits: {'; '.join(changing)}"}
    if missing := sorted(set(sets) - set(wanted)):
        row["note"] = row["note"] or f"ONNX Runtime does not run inputs {', '.join(missing)}"
    return row


def apart(*arguments):
    """As `compared`, in a process of its own, which ONNX Runtime may take down with it."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def body():
        with tempfile.TemporaryDirectory() as scratch:
            sender.send(compared(*arguments, Path(scratch)))

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    sender.close()
    try:
        row = receiver.recv()
    except EOFError:
        row = {"model": arguments[1].stem, "verdict": "skipped", "error": None, "seconds": None}
        row["note"] = "the process that asks ONNX Runtime ended"
    child.join()
    return row


def cells(row):
    plain = row["note"].replace("|", "/").replace("\n", " ")
    note = plain if len(plain) <= 200 else plain[:199] + "…"
    number = lambda value, form: "" if value is None else format(value, form)
    return [row["model"], row["verdict"], number(row["seconds"], ".1f"), number(row["error"], ".1e"), note]


def page(rows, targets, version):
    """The page, as Markdown."""
    counts = collections.Counter(row["verdict"] for row in rows)
    shown = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    lines = [
        "# Models as frameworks export them",
        "",
        "Written by `cargo xtask zoo FOLDER` over a folder of models (`testsuite/python/zoo.py` says what it holds): each is",
        "compiled once for every target, and run at two sets of inputs, on one thread and on two, beside ONNX Runtime. The error",
        "is the largest over all of them, as a part of the output's scale; the time is that of compiling for the slowest target.",
        "",
        f"{version}, ONNX Runtime {onnxruntime.__version__}, targets {', '.join(targets)}: {shown}.",
        "",
        "| model | verdict | compile s | error | |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nnc")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--targets", default="native")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    names = arguments.names or sorted(path.stem for path in arguments.folder.glob("*.onnx"))
    if not names:
        parser.error(f"{arguments.folder}: no .onnx file in it")
    targets = arguments.targets.split(",")
    program = os.path.abspath(arguments.nnc)
    rows = []
    for name in names:
        row = apart(program, arguments.folder / f"{name}.onnx", targets)
        rows.append(row)
        print("  ".join(cell for cell in cells(row) if cell), flush=True)
    counts = collections.Counter(row["verdict"] for row in rows)
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]))
    if arguments.page:
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        arguments.page.write_text(page(rows, targets, version))
    sys.exit(1 if counts["wrong"] or counts["failed"] else 0)


if __name__ == "__main__":
    main()
