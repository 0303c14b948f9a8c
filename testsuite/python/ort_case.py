"""What the cases of `ort_cases.py` are made with: random tensors, models of one node, and folders for `nnc test`."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

DOMAIN = "com.microsoft"
LEARNING = "ai.onnx.ml"
RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def integers(low, high, shape, dtype):
    return RNG.integers(low, high, shape).astype(dtype)


def case(op, inputs, outputs=1, constants=(), domain=DOMAIN, shapes={}, floats=(), **attributes):
    """A model of one node: inputs by position (None where one is left out); those at `constants` are initializers,
    those in `shapes` have the dimensions stated there, which may be names. Outputs `floats` are stated to be of floats."""
    inputs = [None if value is None else np.asarray(value) for value in inputs]
    names = ["" if value is None else f"x{i}" for i, value in enumerate(inputs)]
    wanted = range(outputs) if isinstance(outputs, int) else outputs
    results = [f"y{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
    node = helper.make_node(op, names, results, domain=domain, **attributes)
    stored = [numpy_helper.from_array(inputs[i], f"x{i}") for i in constants]
    types = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(value.dtype), shapes.get(i, value.shape))
        for i, value in enumerate(inputs)
        if value is not None and i not in constants
    ]
    stated = lambda i: helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None) if i in floats else None
    infos = [onnx.ValueInfoProto(name=f"y{i}", type=stated(i)) for i in wanted]
    graph = helper.make_graph([node], op, types, infos, stored)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1), helper.make_opsetid(LEARNING, 3)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    given = {f"x{i}": v for i, v in enumerate(inputs) if v is not None and i not in constants}
    return model, given


def typed(name, value, stated=True):
    """The name and type of a value, which may be a sequence of tensors, with its sizes where they are `stated`."""
    kind = lambda array: helper.np_dtype_to_tensor_dtype(array.dtype)
    if isinstance(value, list):
        shape = ["?"] * value[0].ndim if value else None
        return helper.make_tensor_sequence_value_info(name, kind(value[0]) if value else onnx.TensorProto.FLOAT, shape)
    return helper.make_tensor_value_info(name, kind(value), value.shape if stated else [None] * value.ndim)


def encoded(label, value):
    """A value as in a file, which may be a sequence of tensors."""
    if isinstance(value, list):
        return numpy_helper.from_list([np.asarray(v) for v in value], label).SerializeToString()
    return numpy_helper.from_array(np.asarray(value), label).SerializeToString()


def write(name, model, given, out, tolerance="1e-4 1e-5", stated=True):
    """Runs a case and writes it, with the sizes of its outputs `stated` in the file or left out."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, given)
    del model.graph.output[:]
    for output, value in zip(session.get_outputs(), results):
        model.graph.output.append(typed(output.name, value, stated))
    data = out / name / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    files = []
    for position, (label, value) in enumerate(given.items()):
        # A map is handed over as its values and its keys.
        if isinstance(value, dict):
            keys = list(value.keys())
            keys = np.array(keys, object if isinstance(keys[0], str) else np.int64)
            files.append((f"input_{position}.keys", f"{label}.keys", keys))
            value = np.array(list(value.values()), np.float32)
        files.append((f"input_{position}", label, value))
    files += [(f"output_{i}", o.name, value) for i, (o, value) in enumerate(zip(session.get_outputs(), results))]
    for file, label, value in files:
        (data / f"{file}.pb").write_bytes(encoded(label, value))
    (out / name / "tolerance.txt").write_text(f"{tolerance}\n")
    onnx.save(model, out / name / "model.onnx")
