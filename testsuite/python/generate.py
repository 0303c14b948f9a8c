"""Generates text by a model with states, greedily, and compares it token for token with ONNX Runtime.

usage: generate.py NNC FOLDER [--tokens N] [--targets T,...]

FOLDER receives the model gpt2_decode (see fill_models.py) and the program docs/examples/c/generate.c, built with it.
Exit code 1 when a token differs.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPT = [464, 3290, 318, 257]
MOST = 1024


def expected(path, count):
    """What ONNX Runtime generates, and by how much the first choice led at least."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs() if value.name.startswith("past_")]
    cache = {name: np.zeros((1, 12, 0, 64), np.float32) for name in names}
    tokens, made, lead, position = list(PROMPT), [], float("inf"), 0
    while len(made) < count:
        ids = {"input_ids": np.array([[tokens[position]]]), "position_ids": np.array([[position]])}
        logits, *present = session.run(["logits"] + [name.replace("past", "present") for name in names], ids | cache)
        cache = dict(zip(names, present))
        position += 1
        if position == len(tokens):
            second, first = np.partition(logits.ravel(), -2)[-2:]
            lead = min(lead, float(first - second))
            made.append(int(np.argmax(logits)))
            tokens.append(made[-1])
    return made, lead


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("nnc", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--targets", default="native")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    fill = [sys.executable, Path(__file__).with_name("fill_models.py"), folder, "gpt2_decode"]
    subprocess.run(fill, check=True)
    model = folder / "gpt2_decode.onnx"
    want, lead = expected(model, arguments.tokens)
    failed = False
    for target in arguments.targets.split(","):
        states = ["--dim", f"past=0..{MOST - 1}", "--state", "past_*=present_*"]
        artifact = folder / "gpt2_decode.so"
        subprocess.run([arguments.nnc, "compile", model, "-o", artifact, "--target", target, *states], check=True)
        program = folder / "generate"
        warnings = ["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{folder}"]
        source = ROOT / "docs/examples/c/generate.c"
        subprocess.run([os.environ.get("CC", "cc"), *warnings, source, artifact, "-Wl,-rpath,$ORIGIN", "-o", program], check=True)
        words = [str(word) for word in [program, arguments.tokens, *PROMPT]]
        found = [int(line) for line in subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()]
        same = next((i for i, (a, b) in enumerate(zip(found, want)) if a != b), min(len(found), len(want)))
        print(f"{target}: {same} of {len(want)} tokens as ONNX Runtime has them; the first choice leads by {lead:.1e} at least")
        failed |= found != want
    sys.exit(1 if failed else 0)


main()
