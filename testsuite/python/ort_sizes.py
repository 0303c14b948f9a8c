"""Cases of `ort_cases.py` with sizes that only a run knows and that have no bound: it asks for the memory."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ort_case import case, integers, normal


def sizes():
    yield from operators()
    yield from pipelines()
    yield from branches()


def vector(*numbers):
    return np.array(numbers, np.int64)


def operators():
    """Operators whose operands say how large their results are."""
    x, image = normal(3, 4), normal(1, 2, 5, 6)
    free = {0: ("n", 4)}
    for mode in ("nearest", "linear", "cubic"):
        for places in ("half_pixel", "align_corners", "asymmetric"):
            kind = {"mode": mode, "coordinate_transformation_mode": places}
            name = f"{mode}_{places}"
            # Whole numbers of elements: of others the ends are where ONNX says, not where ONNX Runtime does.
            scales = np.array([1, 1, 1.6, 0.5], np.float32)
            yield f"resize_scales_{name}", case("Resize", [image, None, scales], domain="", **kind)
            given = [image, None, None, vector(1, 2, 9, 4)]
            yield f"resize_sizes_{name}", case("Resize", given, domain="", shapes={0: (1, 2, "h", "w")}, **kind)
    yield "tile_in_run", case("Tile", [x, vector(2, 3)], domain="", shapes=free)
    yield "tile_none", case("Tile", [x, vector(0, 3)], domain="", shapes=free)
    yield "split_in_run", case("Split", [x, vector(1, 3)], 2, domain="", shapes=free, axis=1)
    yield "expand_in_run", case("Expand", [normal(1, 4), vector(3, 5, 4)], domain="", shapes=free)
    yield "expand_same", case("Expand", [x, vector(3, 1)], domain="", shapes=free)
    yield "range_in_run", case("Range", [np.array(3), np.array(20), np.array(4)], domain="")
    yield "range_none", case("Range", [np.array(3), np.array(3), np.array(4)], domain="")
    yield "zeros_in_run", case("ConstantOfShape", [vector(3, 0, 2)], domain="")
    hot = [integers(-3, 3, (4,), np.int64), np.array(5), np.array([0.5, 2], np.float32)]
    yield "one_hot_in_run", case("OneHot", hot, domain="")
    yield "pad_in_run", case("Pad", [x, vector(1, 0, 2, 3), np.float32(0.5)], domain="", shapes=free)
    for i, shape in enumerate(((2, -1), (0, 2, -1), (12,), (4, 3))):
        yield f"reshape_in_run_{i}", case("Reshape", [x, vector(*shape)], domain="", shapes=free)
    empty = case("Reshape", [normal(0, 4), vector(0, 7)], domain="", shapes=free, allowzero=1)
    yield "reshape_empty", empty


def graph(nodes, inputs, outputs, constants=()):
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)
        for name, (value, shape) in inputs.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    stored = [numpy_helper.from_array(value, name) for name, value in constants]
    made = helper.make_graph(nodes, "sizes", infos, results, stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pipelines():
    """Convolutions, products and counts of what is as large as data says."""
    image, size, weights = normal(1, 3, 8, 8), vector(1, 3, 11, 13), normal(4, 3, 3, 3)
    nodes = [
        helper.make_node("Resize", ["x", "", "", "size"], ["large"], mode="linear"),
        helper.make_node("Conv", ["large", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["r", "c"], ["both"], axis=1),
        helper.make_node("ReduceMean", ["p"], ["mean"], axes=[2, 3]),
        helper.make_node("Greater", ["c", "zero"], ["positive"]),
        helper.make_node("NonZero", ["positive"], ["places"]),
        helper.make_node("Transpose", ["places"], ["index"], perm=[1, 0]),
        helper.make_node("GatherND", ["c", "index"], ["found"]),
        helper.make_node("Exp", ["found"], ["powers"]),
    ]
    inputs = {"x": (image, image.shape), "size": (size, size.shape)}
    constants = [("w", weights), ("zero", np.float32(0))]
    model = graph(nodes, inputs, ["both", "mean", "powers", "places"], constants)
    yield "sizes_of_images", (model, {"x": image, "size": size})
    rows, factor = np.array(7), normal(2, 5)
    nodes = [
        helper.make_node("Range", ["zero", "n", "one"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["f", "axis"], ["column"]),
        helper.make_node("Concat", ["column", "column"], ["pair"], axis=1),
        helper.make_node("MatMul", ["pair", "w"], ["y"]),
        helper.make_node("Softmax", ["y"], ["z"], axis=0),
        helper.make_node("Transpose", ["z"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["t", "y"], ["square"]),
    ]
    constants = [("zero", np.array(0)), ("one", np.array(1)), ("axis", vector(1)), ("w", factor)]
    model = graph(nodes, {"n": (rows, ())}, ["y", "square"], constants)
    yield "sizes_of_products", (model, {"n": rows})


def branches():
    """Branches that yield what is as large as each of them says."""
    inner = lambda name, node: helper.make_graph([node], name, [], [helper.make_empty_tensor_value_info("b")])
    for holds in (True, False):
        nodes = [
            helper.make_node("Tile", ["x", "n"], ["many"]),
            helper.make_node(
                "If",
                ["c"],
                ["y"],
                then_branch=inner("then", helper.make_node("Concat", ["many", "x"], ["b"], axis=0)),
                else_branch=inner("otherwise", helper.make_node("Compress", ["many", "kept"], ["b"], axis=0)),
            ),
            helper.make_node("Neg", ["y"], ["z"]),
        ]
        x, n, c = normal(2, 3), vector(3, 1), np.array(holds)
        inputs = {"x": (x, ("rows", 3)), "n": (n, (2,)), "c": (c, ())}
        model = graph(nodes, inputs, ["y", "z"], [("kept", np.array([False, True, True]))])
        yield f"sizes_of_branches_{holds}", (model, {"x": x, "n": n, "c": c})
