"""Compares nnc with ONNX Runtime on the benchmark models: results, and with --speed times beside the peers.

usage: compare_models.py NNC FOLDER [--targets T,...] [--speed ROUNDS] [NAME...]

FOLDER receives the models (see fill_models.py) and what is compiled from them. Without --speed every output must lie
within 1e-4 of its own scale of ONNX Runtime's, for every target. With --speed each round times ONNX Runtime, OpenVINO and
nnc on one thread, each in a process of its own, and the median of the rounds' ratios nnc / best peer is printed: machines
drift, so only times of one round are divided. Exit code 1 when a model is wrong.
"""

import argparse
import faulthandler
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-4
# Seconds that a command may take; what takes longer hangs, and the error says what it was.
LIMIT = 900
SIZES = {"batch": 1, "seq": 128, "past": 128}


def inputs_of(path):
    """Deterministic inputs: noise, small token numbers, full masks."""
    model = onnx.load(path, load_external_data=False)
    generator = np.random.default_rng(0)
    inputs = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value or next((n for k, n in SIZES.items() if k in d.dim_param), 1) for d in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if "mask" in value.name:
            inputs[value.name] = np.ones(shape, dtype)
        elif "position" in value.name:
            inputs[value.name] = np.full(shape, SIZES["past"], dtype)
        elif np.issubdtype(dtype, np.floating):
            inputs[value.name] = generator.standard_normal(shape).astype(dtype)
        else:
            inputs[value.name] = generator.integers(0, 100, shape).astype(dtype)
    return inputs


def session(path, threads, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def error(got, want):
    """The largest difference over the output's scale; infinite where a shape, an integer, a NaN or an infinity differs."""
    if got.shape != want.shape:
        return math.inf
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(got.astype(want.dtype), want) else math.inf
    got, want = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return math.inf
    if not finite.any():
        return 0.0
    difference = np.abs(got[finite] - want[finite]).max() / max(np.abs(want[finite]).max(), 1e-6)
    return math.inf if np.isnan(difference) else float(difference)


def median_ms(call):
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    times = []
    for _ in range(max(5, min(2000, int(1.0 / once)))):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def time_peer(peer, path, npz):
    """In a process of its own, so that one peer's threads and caches never disturb another."""
    inputs = dict(np.load(npz))
    if peer == "ort":
        peer_session = session(path, 1)
        return median_ms(lambda: peer_session.run(None, inputs))
    import openvino

    config = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(str(path), "CPU", config).create_infer_request()
    for name, value in inputs.items():
        request.set_tensor(name, openvino.Tensor(value))
    return median_ms(request.infer)


def last_line(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(f"{command[1]}: {done.stderr.strip()[-300:]}")
    return (done.stdout.splitlines() or [""])[-1]


def check(nnc, path, target, npz, artifact):
    last_line([nnc, "compile", path, "-o", artifact, "--target", target])
    results = artifact.with_suffix(".npz")
    last_line([nnc, "run", artifact, "--inputs", npz, "--outputs", results])
    reference = session(path, 2)
    names = [output.name for output in reference.get_outputs()]
    got = np.load(results)
    return max(error(got[name], want) for name, want in zip(names, reference.run(None, dict(np.load(npz)))))


def speed(nnc, path, npz, artifact, rounds):
    ratios, times = [], {"nnc": [], "ort": [], "openvino": []}
    for _ in range(rounds):
        for peer in ("ort", "openvino"):
            times[peer].append(float(last_line([sys.executable, __file__, "--peer", peer, path, npz])))
        bench = json.loads(last_line([nnc, "bench", artifact, "--inputs", npz, "--threads", 1, "--json"]))
        times["nnc"].append(bench["median_ms"])
        ratios.append(bench["median_ms"] / min(times["ort"][-1], times["openvino"][-1]))
    middle = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(ratios)
    print(
        f"| {path.stem} | {middle['nnc']:.3f} | {middle['ort']:.3f} | {middle['openvino']:.3f} | {ratio:.2f} "
        f"| {bench['load_ms']:.2f} | {bench['peak_rss_mb']:.0f} |",
        flush=True,
    )
    return ratio


def main():
    if sys.argv[1:2] == ["--peer"]:
        print(time_peer(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nnc")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--targets", default="native")
    parser.add_argument("--speed", type=int, default=0, metavar="ROUNDS")
    arguments = parser.parse_args()
    fill = [sys.executable, Path(__file__).with_name("fill_models.py"), arguments.folder, *arguments.names]
    last_line(["python", *fill][1:])
    names = arguments.names or sorted(path.stem for path in arguments.folder.glob("*.onnx"))
    wrong, ratios = [], []
    if arguments.speed:
        print("| model | nnc ms | ONNX Runtime ms | OpenVINO ms | nnc / best | load ms | peak MB |\n|---|---|---|---|---|---|---|")
    for name in names:
        path, npz = arguments.folder / f"{name}.onnx", arguments.folder / f"{name}.in.npz"
        np.savez(npz, **inputs_of(path))
        artifact = arguments.folder / f"{name}.so"
        for target in arguments.targets.split(","):
            faulthandler.dump_traceback_later(3 * LIMIT, exit=True)
            worst = check(arguments.nnc, path, target, npz, artifact)
            if worst > TOLERANCE:
                wrong.append(f"{name} for {target}: error {worst:.1e}")
            if not arguments.speed:
                print(f"{name} {target}: error {worst:.1e}", flush=True)
        if arguments.speed:
            ratios.append(speed(arguments.nnc, path, npz, artifact, arguments.speed))
    if ratios:
        print(f"\ngeometric mean of nnc / best peer over {len(ratios)} models: {statistics.geometric_mean(ratios):.2f}")
    for line in wrong:
        print(f"WRONG {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
