"""Writes the node tests that the installed `onnx` package carries as folders for `nnc test`.

    python onnx_cases.py OUT

OUT/CASE/model.onnx, OUT/CASE/test_data_set_K/{input,output}_J.pb, OUT/CASE/tolerance.txt ("rtol atol").
"""

import inspect
import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node


def message(value, info):
    """The protobuf message of a test value."""
    if isinstance(value, (onnx.TensorProto, onnx.SequenceProto, onnx.OptionalProto)):
        return value
    kind = info.type.WhichOneof("value")
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    if kind == "sequence_type" or isinstance(value, list):
        return numpy_helper.from_list(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def absolute_tolerance(case):
    """How far a value may be off. Terms of a Fourier transform cancel, up to one rounding of the largest value."""
    if not any(node.op_type in ("DFT", "STFT") for node in case.model.graph.node):
        return case.atol
    largest = max(np.abs(value).max() for _, outputs in case.data_sets for value in outputs)
    return max(case.atol, float(np.finfo(np.float32).eps * largest))


def write(case, folder):
    """Writes one case."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = case.model.graph
    for index, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{index}"
        data.mkdir(exist_ok=True)
        for kind, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
            for position, (value, info) in enumerate(zip(values, infos)):
                encoded = message(value, info).SerializeToString()
                (data / f"{kind}_{position}.pb").write_bytes(encoded)
    (folder / "tolerance.txt").write_text(f"{case.rtol} {absolute_tolerance(case)}\n")
    onnx.save(case.model, folder / "model.onnx")


def main():
    warnings.filterwarnings("ignore")
    out = pathlib.Path(sys.argv[1])
    # Older packages take the operator to collect cases for.
    arguments = [None] * len(inspect.signature(node.collect_testcases).parameters)
    cases = node.collect_testcases(*arguments)
    for case in cases:
        write(case, out / case.name)
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
