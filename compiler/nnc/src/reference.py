# Runs a model on ONNX Runtime: MODEL IN.npz OUT.npz. Outputs are named by their numbers; one of maps is two, of the values
# and the keys; one of a sequence is two, of the elements end to end and their shapes; an optional is followed by whether
# it holds something.
import sys

import numpy
import onnxruntime

model, given, found = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 4
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
archive = numpy.load(given)


def taken(name, kind):
    """What the arrays of an input stand for."""
    if kind.startswith("optional(") and not archive[name + ".has"]:
        return None
    if "seq(" not in kind:
        return archive[name]
    shapes = archive[name + ".dims"]
    parts = numpy.split(archive[name], numpy.cumsum(shapes.prod(axis=1))[:-1]) if len(shapes) else []
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


arrays = []
results = session.run(None, {i.name: taken(i.name, i.type) for i in session.get_inputs()})
for value, output in zip(results, session.get_outputs()):
    if value is None:
        sys.exit(f"the output {output.name} is nothing, which is not compared")
    if isinstance(value, list) and value and isinstance(value[0], dict):
        keys = list(value[0])
        values = [numpy.asarray([[row[key] for key in keys] for row in value], numpy.float32), numpy.asarray(keys)]
    elif "seq(" in output.type:
        if not value:
            sys.exit(f"the output {output.name} is an empty sequence, which is not compared")
        parts = [numpy.asarray(part) for part in value]
        values = [numpy.concatenate([part.reshape(-1) for part in parts])]
        values.append(numpy.asarray([part.shape for part in parts], numpy.int64).reshape(len(parts), parts[0].ndim))
    else:
        values = [numpy.asarray(value)]
    if output.type.startswith("optional("):
        values.append(numpy.asarray(True))
    arrays += [array.astype(str) if array.dtype == object else array for array in values]
numpy.savez(found, **{str(number): array for number, array in enumerate(arrays)})
