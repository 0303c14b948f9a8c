"""Writes cases of operators of which the onnx package has none, as folders for `nnc test`.

    python ort_cases.py OUT

Those that ONNX Runtime's optimisers and quantisers make, those of ai.onnx.ml, and ways through narrow types. What is expected is what ONNX Runtime
computes, without its optimiser. Folders are as `onnx_cases.py` writes them.
"""

import pathlib
import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ort_attention import attention, group_query_attention, multi_head_attention
from ort_case import LEARNING, RNG, case, integers, normal, write
from ort_learning import learned, tree_ensembles
from ort_sequences import sequences
from ort_sizes import sizes
from ort_strings import strings


def chain(x, *steps):
    """A model of nodes in a row: each an operator, its inputs but the first, which are initializers, and attributes."""
    nodes, stored, value = [], [], "x0"
    for i, (op, constants, attributes) in enumerate(steps):
        names = [f"c{i}_{k}" for k in range(len(constants))]
        stored += [numpy_helper.from_array(np.asarray(c), name) for c, name in zip(constants, names)]
        result = "y0" if i + 1 == len(steps) else f"t{i}"
        nodes.append(helper.make_node(op, [value, *names], [result], **attributes))
        value = result
    info = helper.make_tensor_value_info("x0", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    graph = helper.make_graph(nodes, "chain", [info], [onnx.ValueInfoProto(name="y0")], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), {"x0": x}


def activations():
    x, bias = normal(2, 3, 8), normal(8)
    yield "bias_gelu", case("BiasGelu", [x, bias])
    yield "fast_gelu", case("FastGelu", [x])
    yield "fast_gelu_bias", case("FastGelu", [x, bias])
    yield "gelu", case("Gelu", [x])
    yield "quick_gelu", case("QuickGelu", [x])
    yield "quick_gelu_alpha", case("QuickGelu", [x], alpha=0.5)


def products():
    a, b = normal(2, 3, 4), normal(2, 4, 5)
    flip = lambda x: np.ascontiguousarray(np.swapaxes(x, -1, -2))
    yield "fused_matmul", case("FusedMatMul", [a, b], alpha=0.25)
    yield "fused_matmul_transposed", case("FusedMatMul", [flip(a), flip(b)], transA=1, transB=1)
    inside = np.ascontiguousarray(np.moveaxis(a, 0, 1))
    yield "fused_matmul_batch_inside", case("FusedMatMul", [inside, b], transBatchA=1)
    inside = np.ascontiguousarray(np.moveaxis(b, 0, 1))
    yield "fused_matmul_batch_inside_b", case("FusedMatMul", [a, inside], transBatchB=1)
    inside = np.ascontiguousarray(np.moveaxis(flip(a), 0, 1))
    yield "fused_matmul_both", case("FusedMatMul", [inside, b], transBatchA=1, transA=1)
    for name, parameters in (("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.3}), ("Tanh", {}), ("Sigmoid", {})):
        inputs = [normal(3, 4), normal(5, 4), normal(5)]
        yield f"fused_gemm_{name}", case("FusedGemm", inputs, transB=1, alpha=0.5, activation=name, **parameters)
    image, filters = normal(1, 3, 6, 6), normal(4, 3, 3, 3)
    for name, parameters in (("Relu", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 1.5]), ("HardSigmoid", [0.3, 0.4])):
        given = {"activation": name} | ({"activation_params": parameters} if parameters else {})
        fused = case("FusedConv", [image, filters, normal(4)], constants=(1, 2), pads=[1] * 4, **given)
        yield f"fused_conv_{name}", fused
    summed = [image, filters, normal(4), normal(1, 4, 6, 6)]
    yield "fused_conv_sum", case("FusedConv", summed, constants=(1, 2), pads=[1] * 4, activation="Relu")


def normalisations():
    x, skip, gamma, beta, bias = normal(2, 3, 8), normal(2, 3, 8), normal(8), normal(8), normal(8)
    yield "skip_layer_norm", case("SkipLayerNormalization", [x, skip, gamma, beta, bias], epsilon=1e-5)
    yield "skip_layer_norm_plain", case("SkipLayerNormalization", [x, skip, gamma])
    yield "skip_layer_norm_sum", case("SkipLayerNormalization", [x, skip, gamma, beta, bias], outputs=[0, 3])
    yield "skip_layer_norm_broadcast", case("SkipLayerNormalization", [x, normal(3, 8), gamma, beta])
    yield "skip_simplified_layer_norm", case("SkipSimplifiedLayerNormalization", [x, skip, gamma, bias], outputs=[0, 3])
    yield "simplified_layer_norm", case("SimplifiedLayerNormalization", [x, gamma], domain="", axis=-1)
    words, segments = integers(0, 9, (2, 5), np.int32), integers(0, 2, (2, 5), np.int32)
    tables = [normal(9, 8), normal(7, 8), normal(2, 8)]
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    yield "embed_layer_norm", case("EmbedLayerNormalization", [words, segments, *tables, gamma, beta, mask], outputs=2)
    plain = [words, None, *tables[:2], None, gamma, beta]
    yield "embed_layer_norm_plain", case("EmbedLayerNormalization", plain, outputs=2)
    placed = [words, segments, *tables, gamma, beta, None, integers(0, 7, (2, 5), np.int32)]
    yield "embed_layer_norm_positions", case("EmbedLayerNormalization", placed, outputs=[0, 2])


def narrow_products():
    for bits, k, n, block in ((4, 64, 5, 16), (4, 40, 3, 32), (8, 48, 4, 16), (2, 64, 3, 32)):
        blocks = -(-k // block)
        a, scales = normal(2, 3, k), np.abs(normal(n, blocks)) * 0.1
        packed = integers(0, 256, (n, blocks, block * bits // 8), np.uint8)
        size = {"K": k, "N": n, "block_size": block, "bits": bits}
        yield f"matmul_{bits}bits_{k}", case("MatMulNBits", [a, packed, scales], constants=(1, 2), **size)
        zeros = integers(0, 256, (n, -(-blocks * bits // 8)), np.uint8)
        yield f"matmul_{bits}bits_{k}_zeros", case("MatMulNBits", [a, packed, scales, zeros], constants=(1, 2, 3), **size)
    floats = [a, packed, scales, None, None, normal(n)]
    yield "matmul_2bits_bias", case("MatMulNBits", floats, constants=(1, 2, 5), **size)
    # Weights so large that they stay in few bits; columns that fill no panel.
    own = np.random.default_rng(1)
    for bits, k, n, rows in ((4, 128, 40, 1), (4, 96, 75, 7), (8, 128, 33, 5), (2, 128, 70, 3)):
        a = own.standard_normal((rows, k)).astype(np.float32)
        scales = own.uniform(0.01, 0.1, (n, k // 32)).astype(np.float32)
        packed = own.integers(0, 256, (n, k // 32, 4 * bits), np.uint8)
        size = {"K": k, "N": n, "block_size": 32, "bits": bits}
        yield f"matmul_{bits}bits_large_{k}", case("MatMulNBits", [a, packed, scales], constants=(1, 2), **size)
        zeros = own.integers(0, 256, (n, -(-(k // 32) * bits // 8)), np.uint8)
        given = [a, packed, scales, zeros]
        yield f"matmul_{bits}bits_large_{k}_zeros", case("MatMulNBits", given, constants=(1, 2, 3), **size)


def quantised():
    def parameters(dtype):
        return np.float32(RNG.uniform(0.02, 0.1)), np.asarray(3 if dtype is np.int8 else 120, dtype)

    for dtype in (np.uint8, np.int8):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
        x, y = integers(low, high, (1, 3, 4, 4), dtype), integers(low, high, (3, 1, 4), dtype)
        result = parameters(dtype)
        for op in ("QLinearAdd", "QLinearMul"):
            yield f"{op}_{dtype.__name__}", case(op, [x, *parameters(dtype), y, *parameters(dtype), *result])
        for op in ("QLinearSigmoid", "QLinearLeakyRelu"):
            yield f"{op}_{dtype.__name__}", case(op, [x, *parameters(dtype), *result], constants=(1, 2, 3, 4))
        pooled = [x, *parameters(dtype), *result]
        yield f"QLinearGlobalAveragePool_{dtype.__name__}", case("QLinearGlobalAveragePool", pooled, channels_last=0)
        concat = [*result, x, *parameters(dtype), x[:, :1], *parameters(dtype)]
        yield f"QLinearConcat_{dtype.__name__}", case("QLinearConcat", concat, axis=1)
    a, b = integers(0, 256, (2, 3, 8), np.uint8), integers(-128, 128, (8, 5), np.int8)
    scales, zeros = np.abs(normal(5)) * 0.1, integers(-3, 4, 5, np.int8)
    floats = [a, b, np.float32(0.05), scales, np.uint8(7), zeros, normal(5)]
    yield "matmul_integer_to_float", case("MatMulIntegerToFloat", floats)
    yield "dynamic_quantize_matmul", case("DynamicQuantizeMatMul", [normal(2, 3, 8), b, scales, zeros, normal(5)])
    left, c = [integers(0, 256, (8, 3), np.uint8), np.float32(0.05), np.uint8(7)], integers(-500, 500, 5, np.int32)
    right = [np.ascontiguousarray(b.T), scales, zeros]
    yield "q_gemm_floats", case("QGemm", [*left, *right, c], transA=1, transB=1, alpha=0.5)
    whole = [b, np.float32(0.03), np.int8(2), c, np.float32(0.3), np.uint8(100)]
    yield "q_gemm", case("QGemm", [*left, *whole], transA=1)


def narrow_types():
    # Every number of a type, what lies halfway between two of them, and what is too large; but for what ONNX Runtime
    # makes NaN in float8_e5m2 where ONNX says that it becomes infinite: infinity, and what is just too large.
    for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"):
        dtype = getattr(ml_dtypes, name)
        values = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
        exact = np.sort(values[np.isfinite(values)])
        halfway = (exact[1:] + exact[:-1]) / 2
        large = np.float32([1, -1])[:, None] * exact[-1] * np.float32([1.03, 1.0625, 1.07, 1.5, 1e9])
        x = np.concatenate([exact, halfway, normal(100), large.ravel(), np.float32([np.nan, 1e-30, -1e-30])])
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        for saturate in (0, 1):
            there, back = ("Cast", [], {"to": to, "saturate": saturate}), ("Cast", [], {"to": TensorProto.FLOAT})
            yield f"cast_{name}_{saturate}", chain(x, there, back)
        scale, zero = np.float32(0.37), np.zeros((), dtype)
        yield f"quantize_{name}", chain(normal(5, 7), ("QuantizeLinear", [scale, zero], {}), ("DequantizeLinear", [scale], {}))
    for name in ("int4", "uint4"):
        dtype = getattr(ml_dtypes, name)
        scales, zeros = np.abs(normal(6, 2)) * 0.5, integers(0, 8, (6, 2), np.int8).astype(dtype)
        blocked = {"axis": 1, "block_size": 4}
        steps = [("QuantizeLinear", [scales, zeros], blocked), ("DequantizeLinear", [scales, zeros], blocked)]
        yield f"quantize_{name}_blocked", chain(normal(6, 7) * 4, *steps)
        moved = [("QuantizeLinear", [scales[0, 0], zeros[0, 0]], {}), ("Transpose", [], {"perm": [1, 0]})]
        yield f"transpose_{name}", chain(normal(5, 7) * 4, *moved, ("DequantizeLinear", [scales[0, 0], zeros[0, 0]], {}))


def features():
    x, counts = normal(5, 4), integers(-4, 5, (5, 4), np.int64)
    x[2] = 0
    lists = {"offset": normal(4).tolist(), "scale": normal(4).tolist()}
    yield "scaler", case("Scaler", [x], domain=LEARNING, **lists)
    yield "scaler_integers", case("Scaler", [counts], domain=LEARNING, offset=[1.0], scale=[0.5])
    for norm in ("MAX", "L1", "L2"):
        yield f"normalizer_{norm}", case("Normalizer", [x], domain=LEARNING, norm=norm)
    holes = np.where(x > 0.5, np.float32(np.nan), x)
    lists = {"imputed_value_floats": normal(4).tolist(), "replaced_value_float": float("nan")}
    yield "imputer", case("Imputer", [holes], domain=LEARNING, **lists)
    yield "imputer_one", case("Imputer", [x], domain=LEARNING, imputed_value_floats=[7.0], replaced_value_float=0.0)
    lists = {"imputed_value_int64s": [5, 6, 7, 8], "replaced_value_int64": 0}
    yield "imputer_integers", case("Imputer", [counts], domain=LEARNING, **lists)
    yield "binarizer", case("Binarizer", [x], domain=LEARNING, threshold=0.25)
    yield "array_feature_extractor", case("ArrayFeatureExtractor", [x, np.array([[3, 0]], np.int64)], domain=LEARNING)
    yield "array_feature_extractor_row", case("ArrayFeatureExtractor", [x[0], np.array([2], np.int64)], domain=LEARNING)
    yield "feature_vectorizer", case("FeatureVectorizer", [x, x[:, :2]], domain=LEARNING, inputdimensions=[4, 2])


def linear_models():
    x = normal(6, 4)
    for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        for count in (1, 2, 3):
            learned = {"coefficients": normal(count * 4).tolist(), "intercepts": normal(count).tolist()}
            learned["post_transform"] = transform
            yield f"linear_regressor_{transform}_{count}", case("LinearRegressor", [x], domain=LEARNING, targets=count, **learned)
            learned["classlabels_ints"] = [7, 3, 5][: max(count, 2)]
            yield f"linear_classifier_{transform}_{count}", case("LinearClassifier", [x], 2, domain=LEARNING, **learned)




def channels_last():
    last = lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for kind, weight in ((np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1
        name = f"{kind.__name__}_{weight.__name__}"
        x = integers(low, high, (1, 4, 7, 6), kind)
        w = integers(np.iinfo(weight).min, np.iinfo(weight).max + 1, (6, 2, 3, 3), weight)
        zero = [kind(3 if kind is np.int8 else 120)]
        given = [np.float32(0.05), *zero, w, np.float32(0.02), weight(0 if weight is np.int8 else 128)]
        given += [np.float32(0.2), *zero, integers(-500, 500, 6, np.int32)]
        window = {"constants": range(1, 9), "group": 2, "pads": [1, 0, 1, 2], "strides": [2, 1]}
        yield f"q_linear_conv_{name}", case("QLinearConv", [x, *given], **window)
        yield f"q_linear_conv_last_{name}", case("QLinearConv", [last(x), *given], channels_last=1, **window)
        free = {0: ("n", "h", "w", 4)}
        yield f"q_linear_conv_last_free_{name}", case("QLinearConv", [last(x), *given], channels_last=1, shapes=free, **window)
    for kind in (np.uint8, np.int8):
        x = integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, (2, 3, 7, 8), kind)
        window = {"kernel_shape": [3, 2], "strides": [2, 2]}
        pads = {"pads": [1, 0, 1, 1]}
        yield f"nhwc_max_pool_{kind.__name__}", case("NhwcMaxPool", [last(x)], **window, **pads)
        numbers = [np.float32(0.04), kind(5), np.float32(0.03), kind(9)]
        for name, kw in (("", {}), ("_pads", pads), ("_count", pads | {"count_include_pad": 1}), ("_ceil", {"ceil_mode": 1})):
            full = f"q_linear_average_pool{name}_{kind.__name__}"
            yield full, case("QLinearAveragePool", [x, *numbers], **window, **kw)
            yield f"{full}_last", case("QLinearAveragePool", [last(x), *numbers], channels_last=1, **window, **kw)
        both = integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, (3, 1, 8), kind)
        given = [integers(0, 2, (7, 1), bool), x, *numbers[:2], both, np.float32(0.06), kind(2), *numbers[2:]]
        yield f"q_linear_where_{kind.__name__}", case("QLinearWhere", given, constants=(2, 3, 5, 6, 7, 8))


def older_names():
    """Operators that ONNX has by now, and those that it has not."""
    x = normal(2, 3, 4, 5)
    grid = RNG.uniform(-1.2, 1.2, (2, 3, 4, 2)).astype(np.float32)
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            kw = {"mode": mode, "padding_mode": padding, "align_corners": int(padding == "border")}
            yield f"ms_grid_sample_{mode}_{padding}", case("GridSample", [x, grid], **kw)
    for axis in (0, 2, -1, -3):
        yield f"expand_dims_{axis}", case("ExpandDims", [x, np.array(axis, np.int32)], constants=(1,))
    yield "ms_unique", case("Unique", [np.array([2, 1, 1, 3, 4, 3, 2], np.float32)], 3)
    amounts = np.array([[0, 1, 0, 2, 0, 0, 1, 0]], np.int64)
    for mode in ("constant", "edge", "reflect"):
        yield f"ms_pad_{mode}", case("Pad", [x, amounts], constants=(1,), mode=mode)
    yield "ms_pad_value", case("Pad", [x, amounts[0], np.array([2.5], np.float32)], constants=(1, 2))
    yield "ms_trilu", case("Trilu", [x, np.array(1, np.int64)], constants=(1,), upper=0)
    yield "ms_range", case("Range", [np.array(2, np.int32), np.array(9, np.int32)], constants=(0, 1))
    yield "ms_range_step", case("Range", [np.array(9.0), np.array(2.0), np.array(-2.0)], constants=(0, 1, 2))
    yield "ms_gather_nd", case("GatherND", [x, integers(0, 2, (5, 2), np.int64)])
    for size, step in ((2, 1), (3, 2)):
        yield f"unfold_tensor_{size}", case("UnfoldTensor", [x], dim=2, size=size, step=step)
    yield "unfold_tensor_free", case("UnfoldTensor", [x], size=2, shapes={0: (2, 3, 4, "w")})
    boxes = np.array([[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [-0.2, 0.3, 0.5, 1.3], [0.9, 0.9, 0.1, 0.2]], np.float32)
    images = np.array([0, 1, 1, 0], np.int32)
    for mode in ("bilinear", "nearest"):
        for size in ((3, 4), (1, 2)):
            given = [x, boxes, images, np.array(size, np.int32)]
            kw = {"mode": mode, "extrapolation_value": 0.5, "constants": (3,)}
            yield f"crop_and_resize_{mode}_{size[0]}", case("CropAndResize", given, **kw)
    kw = {"strides": [2, 1], "output_padding": [1, 0]}
    given = [x, normal(3, 2, 3, 2), np.array([1, 0, 1, 1], np.int64), normal(2)]
    yield "conv_transpose_with_dynamic_pads", case("ConvTransposeWithDynamicPads", given, constants=(1, 2, 3), **kw)
    for shape in ((3, 3), (2, 2, 5, 5), (1, 1)):
        yield f"inverse_{shape[-1]}", case("Inverse", [normal(*shape)])
    for metric in ("euclidean", "sqeuclidean"):
        yield f"cdist_{metric}", case("CDist", [normal(5, 7), normal(6, 7)], metric=metric)
    for kind in (np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64):
        keys = integers(0, 1 << 31, (2, 5), np.int64).astype(kind)
        for positive in (0, 1):
            yield f"murmur_hash3_{kind.__name__}_{positive}", case("MurmurHash3", [keys], positive=positive, seed=41 * positive)
    a, b = integers(-(1 << 15), 1 << 15, (2, 3, 4), np.int16), integers(-(1 << 15), 1 << 15, (4, 5), np.int16)
    yield "matmul_integer16", case("MatMulInteger16", [a // 8, b // 8])
    words, segments = integers(0, 9, (2, 5), np.int32), integers(0, 2, (2, 5), np.int32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    for kind in (np.uint8, np.int8):
        tables = [integers(0, 100, shape, kind) for shape in ((9, 8), (7, 8), (2, 8), 8, 8)]
        scales = [np.float32(RNG.uniform(0.01, 0.1)) for _ in range(5)]
        zeros = [kind(RNG.integers(20, 60)) for _ in range(5)]
        given = [words, segments, *tables, mask, *scales, *zeros]
        yield f"q_embed_layer_norm_{kind.__name__}", case("QEmbedLayerNormalization", given, 2, range(2, 7), epsilon=1e-5)
    for bits in (4, 8):
        table = integers(0, 256, (9, 64 * bits // 8), np.uint8)
        given = [table, integers(-9, 9, (2, 3), np.int64), np.abs(normal(9, 4)) * 0.1]
        size = {"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0}
        yield f"gather_{bits}bits", case("GatherBlockQuantized", given, constants=(0, 2), **size)
        zeros = integers(0, 256, (9, 4 * bits // 8), np.uint8)
        yield f"gather_{bits}bits_zeros", case("GatherBlockQuantized", [*given, zeros], constants=(0, 2, 3), **size)
    for kind in (0, 1):
        k, n, block = 48, 5, 32
        packed, largest = integers(0, 256, (k * n + 1) // 2, np.uint8), np.abs(normal(-(-k * n // block)))
        size = {"K": k, "N": n, "block_size": block, "quant_type": kind}
        yield f"matmul_bnb4_{kind}", case("MatMulBnb4", [normal(2, 3, k), packed, largest], constants=(1, 2), **size)


def recurrent_layers():
    """Weights that are inputs, and weights of bytes."""
    t, b, size, hidden = 4, 3, 5, 6
    for op, gates, more in (("LSTM", 4, {}), ("GRU", 3, {}), ("GRU", 3, {"linear_before_reset": 1}), ("RNN", 1, {})):
        name = f"{op}{'_linear' if more else ''}"
        given = [normal(t, b, size), normal(2, gates * hidden, size), normal(2, gates * hidden, hidden)]
        given += [normal(2, 2 * gates * hidden), np.array([4, 2, 3], np.int32)]
        given += [normal(2, b, hidden) for _ in range(2 if op == "LSTM" else 1)]
        kw = {"domain": "", "hidden_size": hidden, "direction": "bidirectional"} | more
        outputs = 3 if op == "LSTM" else 2
        yield f"{name}_inputs", case(op, given, outputs, **kw)
        free = {0: ("t", "b", size), 4: ("b",)} | {i: (2, "b", hidden) for i in range(5, len(given))}
        yield f"{name}_inputs_free", case(op, given, outputs, shapes=free, **kw)
    for kind, channels in ((np.uint8, 1), (np.int8, 1), (np.uint8, 4 * hidden), (np.int8, 4 * hidden)):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1
        w, r = integers(low, high, (1, size, 4 * hidden), kind), integers(low, high, (1, hidden, 4 * hidden), kind)
        shape = (1,) if channels == 1 else (1, channels)
        zero = np.full(shape, 128 if kind is np.uint8 else 0, kind)
        scales = [RNG.uniform(0.002, 0.006, shape).astype(np.float32) for _ in range(2)]
        given = [normal(t, b, size), w, r, normal(1, 8 * hidden), None, *(normal(1, b, hidden) for _ in range(2)), None]
        given += [scales[0], zero, scales[1], zero]
        kw = {"constants": (1, 2, 8, 9, 10, 11), "hidden_size": hidden}
        # ONNX Runtime rounds inputs and states to 8 bits before each product.
        yield f"dynamic_quantize_lstm_{kind.__name__}_{channels}", case("DynamicQuantizeLSTM", given, 3, **kw), "3e-2 1e-2"


def main():
    out = pathlib.Path(sys.argv[1])
    count = 0
    families = (activations, products, normalisations, narrow_products, quantised, features, linear_models, tree_ensembles)
    families += (attention, multi_head_attention, group_query_attention, channels_last, older_names)
    families += (recurrent_layers, strings, narrow_types, learned, sequences)
    for family in families:
        for name, (model, given), *tolerance in family():
            write(name, model, given, out, *tolerance)
            count += 1
    for name, (model, given) in sizes():
        write(name, model, given, out, stated=False)
        count += 1
    print(f"{count} cases")


if __name__ == "__main__":
    main()
