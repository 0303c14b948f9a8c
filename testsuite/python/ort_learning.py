"""Cases of `ort_cases.py` of models that scikit-learn and libsvm train."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ort_case import LEARNING, RNG, case, integers, normal

# Near one half ONNX Runtime's formula takes nearly equal numbers from each other.
ROUGH = {"PROBIT": ["1e-3 2e-3"]}
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
GRID = np.arange(-2, 3).astype(np.float32) / 2
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")


def trees(kind, targets, modes=MODES, missing=False, count=9, spread="leaf", positive=False):
    """Attributes of random trees over four features. Weights go to a target for each leaf, for each tree, or to all."""
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    weights = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(count):
        pending, number = [(0, 0)], 1
        while pending:
            node, depth = pending.pop()
            leaf = depth == 4 or RNG.random() < 0.2 * depth or (tree == 3 and depth == 0)
            nodes["treeids"].append(tree)
            nodes["nodeids"].append(node)
            nodes["featureids"].append(0 if leaf else int(RNG.integers(4)))
            nodes["values"].append(0.0 if leaf else float(RNG.choice(GRID)))
            nodes["modes"].append("LEAF" if leaf else str(RNG.choice(modes)))
            nodes["truenodeids"].append(0 if leaf else number)
            nodes["falsenodeids"].append(0 if leaf else number + 1)
            if not leaf:
                pending += [(number + 1, depth + 1), (number, depth + 1)]
                number += 2
                continue
            each = {"leaf": [int(RNG.integers(targets))], "tree": [tree * tree % targets], "all": range(targets)}
            for target in each[spread]:
                weight = float(normal())
                for key, value in zip(weights, (tree, node, target, abs(weight) / count if positive else weight)):
                    weights[key].append(value)
    attributes = {f"nodes_{key}": value for key, value in nodes.items()}
    attributes |= {f"{kind}_{key}": value for key, value in weights.items()}
    if missing:
        attributes["nodes_missing_value_tracks_true"] = integers(0, 2, len(nodes["modes"]), np.int64).tolist()
    return attributes


def tree_ensembles():
    x = RNG.choice(GRID, (37, 4))
    holes = np.where(RNG.random((37, 4)) < 0.3, np.float32(np.nan), x)
    plain = ["BRANCH_LEQ"]
    regress = lambda given, **kw: case("TreeEnsembleRegressor", [given], domain=LEARNING, **kw)
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        for targets, spread in ((1, "leaf"), (3, "leaf"), (3, "tree"), (3, "all")):
            made = trees("target", targets, spread=spread)
            given = regress(x, n_targets=targets, aggregate_function=aggregate, **made)
            yield f"tree_regressor_{aggregate}_{targets}_{spread}", given
    for name, modes in [("leq", plain), *((mode[7:].lower(), [mode]) for mode in MODES[1:])]:
        # ONNX Runtime takes NaN for missing only where all nodes ask whether a feature is at most a threshold.
        made = trees("target", 1, modes=modes, missing=modes == plain)
        yield f"tree_regressor_missing_{name}", regress(holes if modes == plain else x, n_targets=1, **made)
    yield "tree_regressor_nan", regress(holes, n_targets=1, **trees("target", 1, modes=plain))
    yield "tree_regressor_base", regress(x, n_targets=2, base_values=[0.5, -1.0], **trees("target", 2))
    yield "tree_regressor_one_row", regress(x[:1], n_targets=1, **trees("target", 1, count=1))
    yield "tree_regressor_stump", regress(x, n_targets=1, **trees("target", 1, count=1))
    double = trees("target", 1, modes=plain)
    for key in ("nodes_values", "target_weights"):
        double[f"{key}_as_tensor"] = numpy_helper.from_array(np.array(double.pop(key), np.float64) + 1e-12)
    yield "tree_regressor_double", regress(x.astype(np.float64), n_targets=1, **double)
    counted = {"classlabels_int64s": [1, 2, 3], **trees("class", 3, modes=plain)}
    yield "tree_classifier_integers", case("TreeEnsembleClassifier", [integers(-2, 3, (9, 4), np.int64)], 2, domain=LEARNING, **counted)
    for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        yield f"tree_regressor_{transform}", regress(x, n_targets=3, post_transform=transform, **trees("target", 3))
        for name, kw in {
            "three": {"made": trees("class", 3), "labels": [7, 3, 5]},
            "by_tree": {"made": trees("class", 3, spread="tree"), "labels": [7, 3, 5], "base_values": [0.5, 0.0, -0.5]},
            "probabilities": {"made": trees("class", 1, positive=True), "labels": [4, 2]},
            "two": {"made": trees("class", 1), "labels": [4, 2], "base_values": [0.25]},
        }.items():
            kw = {"post_transform": transform, "classlabels_int64s": kw.pop("labels"), **kw.pop("made"), **kw}
            yield f"tree_classifier_{transform}_{name}", case("TreeEnsembleClassifier", [x], 2, domain=LEARNING, **kw)


def scored_classes():
    """Classes that some rows or all trees leave without a score."""
    x = RNG.choice(GRID, (37, 4))
    classify = lambda labels, **kw: case("TreeEnsembleClassifier", [x], 2, domain=LEARNING, classlabels_int64s=labels, **kw)
    for scored in (0, 1):
        for positive in (False, True):
            for base in ([], [0.25], [0.25, -0.125], [0.75, 0.75]):
                for transform in TRANSFORMS:
                    # Of one score of two classes the second is not defined with PROBIT.
                    if transform == "PROBIT" and len(base) < 2:
                        continue
                    made = trees("class", 1, positive=positive)
                    kept = [i for i in range(len(made["class_ids"])) if RNG.random() < (0.5 if positive else 2)]
                    for key in ("class_nodeids", "class_treeids", "class_weights"):
                        made[key] = [made[key][i] for i in kept]
                    made |= {"class_ids": [scored] * len(kept), "post_transform": transform}
                    made |= {"base_values": base} if base else {}
                    name = f"tree_classifier_{transform}_{scored}_{positive}_{'_'.join(map(str, base))}"
                    yield name, classify([4, 2], **made), *ROUGH.get(transform, [])
    for transform in TRANSFORMS:
        made = trees("class", 3)
        made["class_weights"] = [-abs(weight) for weight in made["class_weights"]]
        yield f"tree_classifier_{transform}_negative", classify([4, 2, 7], post_transform=transform, **made), *ROUGH.get(transform, [])
        made = trees("target", 1, positive=True)
        one = case("TreeEnsembleRegressor", [x], domain=LEARNING, n_targets=1, post_transform=transform, **made)
        yield f"tree_regressor_{transform}_one", one, *ROUGH.get(transform, [])


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
    for family in (classifiers, regressors, maps, scored_classes):
        yield from family()
