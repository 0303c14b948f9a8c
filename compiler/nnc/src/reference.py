# Runs a model on ONNX Runtime: MODEL IN.npz OUT.npz. Outputs are named by their numbers; one of maps is two, of the values
# and the keys.
import sys

import numpy
import onnxruntime

model, given, found = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 4
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
arrays = []
for output in session.run(None, dict(numpy.load(given))):
    if isinstance(output, list) and output and isinstance(output[0], dict):
        keys = list(output[0])
        arrays.append(numpy.asarray([[row[key] for key in keys] for row in output], numpy.float32))
        output = keys
    array = numpy.asarray(output)
    arrays.append(array.astype(str) if array.dtype == object else array)
numpy.savez(found, **{str(number): array for number, array in enumerate(arrays)})
