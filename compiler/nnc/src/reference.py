# Runs a model on ONNX Runtime: MODEL IN.npz OUT.npz. Outputs are named by their numbers.
import sys

import numpy
import onnxruntime

model, given, found = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 4
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
outputs = session.run(None, dict(numpy.load(given)))
numpy.savez(found, **{str(number): numpy.asarray(output) for number, output in enumerate(outputs)})
