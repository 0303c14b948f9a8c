"""Compares the digit models compiled by nnc with ONNX Runtime, image for image.

    python compare_digits.py NNC EXAMPLES SCRATCH

EXAMPLES holds the models and digits.npz. Exits 1 unless every image gets the same digit and every output lies within
1e-4 of its own scale.
"""

import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime

TOLERANCE = 1e-4
# Seconds that a command may take; what takes longer hangs, and the error says what it was.
LIMIT = 900


def main():
    nnc, examples, scratch = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    scratch.mkdir(parents=True, exist_ok=True)
    digits = np.load(examples / "digits.npz")
    labels = digits["test_label"]
    wrong = False
    for name in ("digits_cnn", "digits_transformer"):
        session = onnxruntime.InferenceSession(examples / f"{name}.onnx", providers=["CPUExecutionProvider"])
        dims = [d if isinstance(d, int) else len(labels) for d in session.get_inputs()[0].shape]
        images = digits["test_image"].reshape(dims)
        (want,) = session.run(None, {"image": images})

        np.savez(scratch / "in.npz", image=images)
        artifact = scratch / f"{name}.so"
        commands = (
            ["compile", examples / f"{name}.onnx", "-o", artifact],
            ["run", artifact, "--inputs", scratch / "in.npz", "--outputs", scratch / "out.npz"],
        )
        for command in commands:
            subprocess.run([nnc, *command], check=True, timeout=LIMIT)
        got = np.load(scratch / "out.npz")["logits"]

        error = np.abs(got - want).max() / np.abs(want).max()
        different = int((got.argmax(1) != want.argmax(1)).sum())
        right = [int((logits.argmax(1) == labels).sum()) for logits in (got, want)]
        print(f"{name}: {right[0]} of {len(labels)} right, ONNX Runtime {right[1]}; {different} differ; error {error:.1e}")
        wrong |= different > 0 or not error <= TOLERANCE
    sys.exit(wrong)


if __name__ == "__main__":
    main()
