"""Cases of `ort_cases.py` of models that scikit-learn and libsvm train."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from ort_case import LEARNING, RNG, case, normal

# Near one half ONNX Runtime's formula takes nearly equal numbers from each other.
ROUGH = {"PROBIT": ["1e-3 5e-4"]}
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")


def machine(classes, kernel="RBF", features=4, probabilities=False, strings=False, **more):
    """Random attributes of a classifier with support vectors."""
    counts = RNG.integers(1, 6, classes).tolist()
    total, pairs = sum(counts), classes * (classes - 1) // 2
    labels = {"classlabels_strings": [f"class {i}" for i in range(classes)]}
    if not strings:
        labels = {"classlabels_ints": [3 * i - 5 for i in range(classes)][::-1]}
    made = {
        "kernel_type": kernel,
        "kernel_params": [0.3, 0.2, 3.0],
        "support_vectors": normal(total * features),
        "coefficients": normal((classes - 1) * total),
        "vectors_per_class": counts,
        "rho": normal(pairs) * 0.3,
        **labels,
    }
    if probabilities:
        made |= {"prob_a": -np.abs(normal(pairs)) - 0.5, "prob_b": normal(pairs) * 0.3}
    return made | more


def classifiers():
    classify = lambda x, **kw: case("SVMClassifier", [x], 2, domain=LEARNING, **kw)
    x, free = normal(23, 4), {0: ("n", 4)}
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        for classes in (2, 3, 5):
            for probabilities in (False, True):
                name = f"svm_{kernel}_{classes}{'_probabilities' if probabilities else ''}"
                made = machine(classes, kernel, probabilities=probabilities)
                yield name, classify(x, shapes=free, **made)
    for degree in (2.0, 1.0, 4.0):
        yield f"svm_degree_{degree:.0f}", classify(x, **machine(3, "POLY", kernel_params=[0.5, 0.1, degree]))
    for transform in TRANSFORMS:
        # Of two classes without probabilities the second score is not defined with PROBIT.
        for classes, probabilities in ((2, False), (3, False), (2, True), (3, True)):
            if transform == "PROBIT" and not probabilities:
                continue
            made = machine(classes, probabilities=probabilities, post_transform=transform)
            yield f"svm_{transform}_{classes}_{probabilities}", classify(x, **made), *ROUGH.get(transform, [])
        # A score between 0 and 1, so that it has one.
        for classes in (1, 2, 4):
            scale = 0.05 if transform == "PROBIT" else 1
            weights = np.abs(normal(4 * classes)) if classes == 2 else normal(4 * classes)
            made = {"coefficients": weights * scale, "rho": [0.5], "classlabels_ints": [9, 4, 1, 7][:classes]}
            made |= {"kernel_params": [0.0, 0.0, 0.0], "post_transform": transform}
            yield f"svm_coefficients_{transform}_{classes}", classify(normal(19, 4), **made), *ROUGH.get(transform, [])
    mixed = {"coefficients": normal(8), "rho": [0.1], "classlabels_strings": ["no", "yes"], "kernel_params": [0.0] * 3}
    yield "svm_coefficients_mixed", classify(x, **mixed)
    for probability in (False, True):
        made = machine(4, strings=True, probabilities=probability)
        yield f"svm_strings_{probability}", classify(x, shapes=free, **made)
    yield "svm_many", classify(normal(7, 3), **machine(23, features=3, probabilities=True))
    for kind in (np.float64, np.int32, np.int64):
        yield f"svm_{kind.__name__}", classify((3 * x).astype(kind), **machine(3, "POLY"))
    yield "svm_row", classify(x[0], **machine(3, probabilities=True))
    yield "svm_no_rows", classify(x[:0], shapes=free, **machine(3, probabilities=True))


def regressors():
    regress = lambda x, **kw: case("SVMRegressor", [x], domain=LEARNING, **kw)
    x, free = normal(23, 4), {0: ("n", 4)}
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        for one in (0, 1):
            made = {"support_vectors": normal(7 * 4), "coefficients": normal(7), "n_supports": 7, "rho": [0.25]}
            made |= {"kernel_type": kernel, "kernel_params": [0.4, 0.1, 3.0]}
            yield f"svm_regressor_{kernel}_{one}", regress(x, shapes=free, one_class=one, **made)
    linear = {"coefficients": normal(4), "rho": [-0.25], "kernel_params": [0.0] * 3, "n_supports": 0}
    yield "svm_regressor_coefficients", regress(x, **linear)
    yield "svm_regressor_transform", regress(x, post_transform="LOGISTIC", **linear)


def of_map(op, given, **attributes):
    """A model of one node that takes a map from integers or strings to floats: ONNX Runtime's Python makes no other."""
    info = onnx.ValueInfoProto(name="x0")
    info.type.map_type.key_type = TensorProto.STRING if isinstance(next(iter(given)), str) else TensorProto.INT64
    info.type.map_type.value_type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    node = helper.make_node(op, ["x0"], ["y0"], domain=LEARNING, **attributes)
    graph = helper.make_graph([node], op, [info], [onnx.ValueInfoProto(name="y0")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(LEARNING, 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), {"x0": given}


def maps():
    by_word = {"oslo": 0.5, "paris": -1.5, "rome": 2.0, "": 4.0}
    words = ["rome", "", "oslo", "rome", "bern"]
    yield "dict_vectorizer_words", of_map("DictVectorizer", by_word, string_vocabulary=words)
    by_number = {5: 0.5, 1 << 40: 1.5, 0: 2.5, -2: -3.0}
    yield "dict_vectorizer_numbers", of_map("DictVectorizer", by_number, int64_vocabulary=[7, -2, 5, 7, 1 << 40, 5])
    floats = {9: 1.75, 2: -3.5, 0: 1e6, 6: 0.125}
    for form in ("DENSE", "SPARSE"):
        for to in ("TO_FLOAT", "TO_INT64"):
            yield f"cast_map_{form}_{to}", of_map("CastMap", floats, cast_to=to, map_form=form, max_map=7)


def learned():
    for family in (classifiers, regressors, maps):
        yield from family()
