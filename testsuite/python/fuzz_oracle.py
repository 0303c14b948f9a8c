"""ONNX Runtime as the fuzzer's second reference.

Each line of standard input is a case's folder; its data sets receive output_J.pb. The answer is one line: `ran`, or why not.
Rewrites are off, so that what is compared is the operators as written. Source of the format: testsuite/src/fuzz/case.rs.
"""

import sys
from pathlib import Path

import onnx
import onnxruntime
from onnx import numpy_helper


def run(folder):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    results = []
    for data in sorted(folder.glob("test_data_set_*")):
        feed = {}
        for position, name in enumerate(names):
            tensor = onnx.TensorProto.FromString((data / f"input_{position}.pb").read_bytes())
            feed[name] = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
                numpy_helper.to_array(tensor), tensor.data_type
            )
        outputs = session.run_with_ort_values([o.name for o in session.get_outputs()], feed)
        results.append((data, [numpy_helper.from_array(to_numpy(o)) for o in outputs]))
    for data, outputs in results:
        for position, tensor in enumerate(outputs):
            (data / f"output_{position}.pb").write_bytes(tensor.SerializeToString())


def to_numpy(value):
    if value.element_type() == onnx.TensorProto.BFLOAT16:
        raise TypeError("outputs of type bfloat16 cannot be read")
    return value.numpy()


def main():
    for line in sys.stdin:
        try:
            run(Path(line.rstrip("\n")))
            answer = "ran"
        except Exception as error:  # whatever it is, it is this model's
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
        print(answer, flush=True)


main()
