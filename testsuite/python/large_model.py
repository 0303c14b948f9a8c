"""Compiles a model of several gigabytes, and holds its results and the memory that compiling takes to what they should be.

usage: large_model.py NNC FOLDER [--layers N] [--width N] [--threads N]

FOLDER receives a network of fully connected layers whose weights are external data (by default 12 layers of 8192 x 8192,
3 GiB), and what is compiled from it; all of it goes again at the end. Half of the layers are Gemm with the weights
transposed, half MatMul, so that both orders of a matrix are packed. Results are compared with numpy's in float64, one
layer at a time. Exit code 1 when they are wrong, or when compiling took more memory than 1.3 times the weights.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

# What is allowed beside 1.3 times the weights, for the program itself.
BASE_BYTES = 64 << 20
MOST_TIMES = 1.3
TOLERANCE = 1e-4
# Rows of a matrix that are drawn at a time.
ROWS = 1024


def is_transposed(layer):
    return layer % 2 == 1


def shift(layer, width):
    """The bias of a layer."""
    return np.random.default_rng(layer).standard_normal(width, dtype=np.float32) * np.float32(0.1)


def write(folder, layers, width):
    """Writes model and weights; answers the path of the model."""
    matrix_bytes = 4 * width * width
    nodes, tensors, value = [], [], "x"
    scale = np.float32((2 / width) ** 0.5)
    with open(folder / "large.data", "wb") as data:
        for layer in range(layers):
            generator = np.random.default_rng(1000 + layer)
            for row in range(0, width, ROWS):
                rows = min(ROWS, width - row)
                data.write((generator.standard_normal((rows, width), dtype=np.float32) * scale).tobytes())
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[width, width])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": "large.data", "offset": layer * matrix_bytes, "length": matrix_bytes}
            for key, entry in place.items():
                tensor.external_data.add(key=key, value=str(entry))
            tensors += [tensor, onnx.numpy_helper.from_array(shift(layer, width), f"b{layer}")]
            if is_transposed(layer):
                nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [f"s{layer}"], transB=1))
            else:
                nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"p{layer}"]))
                nodes.append(helper.make_node("Add", [f"p{layer}", f"b{layer}"], [f"s{layer}"]))
            value = f"y{layer}"
            nodes.append(helper.make_node("Relu", [f"s{layer}"], [value]))
    shape = ["batch", width]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)],
        tensors,
    )
    path = folder / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def expected(folder, layers, width, x):
    """What the model computes, in float64."""
    weights = np.memmap(folder / "large.data", dtype=np.float32, mode="r", shape=(layers, width, width))
    value = x.astype(np.float64)
    for layer in range(layers):
        matrix = weights[layer].T if is_transposed(layer) else weights[layer]
        value = np.concatenate([value @ part.astype(np.float64) for part in np.array_split(matrix, 8, axis=1)], axis=1)
        value = np.maximum(value + shift(layer, width), 0)
    return value


def run(*words):
    """Runs a command; answers the seconds it took."""
    words = [str(word) for word in words]
    print("$", " ".join(words), flush=True)
    start = time.monotonic()
    subprocess.run(words, check=True)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("nnc", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    folder, layers, width = arguments.folder, arguments.layers, arguments.width
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"large.{ending}" for ending in ("onnx", "data", "so", "h", "weights")] + ["in.npz", "out.npz"]
    try:
        model = write(folder, layers, width)
        x = np.random.default_rng(0).standard_normal((3, width), dtype=np.float32)
        np.savez(folder / "in.npz", x=x)
        artifact = folder / "large.so"
        seconds = run(arguments.nnc, "compile", model, "-o", artifact)
        # The greatest of all children's so far, of which there was one.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        weights = os.path.getsize(folder / "large.data")
        times = peak / weights
        print(f"compiled in {seconds:.1f} s; peak memory {peak / 2**20:.0f} MiB, {times:.2f} times the weights")
        run(arguments.nnc, "verify", artifact)
        files = ["--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--threads", arguments.threads]
        run(arguments.nnc, "run", artifact, *files)
        with np.load(folder / "out.npz") as out:
            (found,) = [out[name] for name in out.files]
        want = expected(folder, layers, width, x)
        error = np.max(np.abs(found - want)) / np.max(np.abs(want))
        print(f"difference from float64: {error:.1e} of the scale")
        if not error <= TOLERANCE:
            sys.exit("the results are wrong")
        if peak > MOST_TIMES * weights + BASE_BYTES:
            sys.exit(f"compiling took more than {MOST_TIMES} times the weights")
    finally:
        for name in names:
            (folder / name).unlink(missing_ok=True)


main()
