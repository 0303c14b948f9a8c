"""Cases of `ort_cases.py` with strings: as inputs and outputs, moved about, looked up, and taken apart."""

import numpy as np

from ort_case import LEARNING, RNG, case, integers, normal

WORDS = ["rome", "paris", "", "oslo", "Paris", "naïve", "a b  c", " oslo "]


def words(*shape):
    return np.array(WORDS * 9, object)[: int(np.prod(shape))].reshape(shape)


def categories():
    """Keys of every kind, to values of every kind."""
    x, free = words(4, 2), {0: ("n", 2)}
    keys = {"keys_strings": ["paris", "rome", "naïve"]}
    for name, values in (
        ("ints", {"values_int64s": [5, -6, 7], "default_int64": 9}),
        ("floats", {"values_floats": [0.5, 1.5, -2.0]}),
        ("strings", {"values_strings": ["France", "", "?"], "default_string": "none"}),
    ):
        yield f"label_encoder_{name}", case("LabelEncoder", [x], domain=LEARNING, shapes=free, **keys, **values)
    many = [f"key {i}" for i in range(3000)]
    picked = np.array([many[i] for i in (0, 2999, 17, 1500)] + ["key", "key 3000"], object)
    given = {"keys_strings": many, "values_int64s": list(range(3000))}
    yield "label_encoder_many", case("LabelEncoder", [picked], domain=LEARNING, **given)
    numbers = integers(-3, 4, (3, 5), np.int64)
    back = {"keys_int64s": [2, -3, 0], "values_strings": ["two", "minus three", "none"]}
    yield "label_encoder_back", case("LabelEncoder", [numbers], domain=LEARNING, shapes={0: ("n", "m")}, **back)
    reals = np.array([0.5, -1.0, np.nan, 3.25, -0.0, np.inf], np.float32)
    floats = {"keys_floats": [3.25, float("nan"), 0.0, 0.5], "values_int64s": [1, 2, 3, 4]}
    yield "label_encoder_reals", case("LabelEncoder", [reals], domain=LEARNING, **floats)
    both = {"cats_strings": ["oslo", "paris"], "cats_int64s": [7, 3]}
    yield "category_mapper_strings", case("CategoryMapper", [x], domain=LEARNING, **both)
    yield "category_mapper_ints", case("CategoryMapper", [np.array([3, 8, 7], np.int64)], domain=LEARNING, **both)
    hot = {"cats_strings": ["rome", "", "oslo"]}
    yield "one_hot_strings", case("OneHotEncoder", [x], domain=LEARNING, shapes=free, **hot)
    yield "one_hot_all", case("OneHotEncoder", [words(2, 2)[:1]], domain=LEARNING, zeros=0, cats_strings=WORDS)
    for kind in (np.int64, np.float32):
        given = [numbers.astype(kind)]
        yield f"one_hot_{kind.__name__}", case("OneHotEncoder", given, domain=LEARNING, cats_int64s=[-1, 3, 0, 2])
    learned = {"coefficients": normal(12), "intercepts": normal(3), "classlabels_strings": ["a", "bc", ""]}
    given = [normal(5, 4)]
    yield "linear_strings", case("LinearClassifier", given, 2, domain=LEARNING, shapes={0: ("n", 4)}, **learned)


def movements():
    """Strings that only change places; sizes that only the run knows."""
    x, y = words(2, 4), words(1, 4)[:, ::-1]
    free = {0: ("n", 4)}
    yield "strings_identity", case("Identity", [x], domain="", shapes=free)
    yield "strings_transpose", case("Transpose", [x], domain="", shapes=free)
    yield "strings_concat", case("Concat", [x, y, x], domain="", axis=0, shapes=free | {1: ("m", 4), 2: ("n", 4)})
    index = np.array([[2, -1], [0, 0]], np.int64)
    yield "strings_gather", case("Gather", [x, index], domain="", axis=1, shapes=free)
    yield "strings_where", case("Where", [np.array([[True], [False]]), x, y], domain="")
    yield "strings_tile", case("Tile", [x, np.array([2, 3], np.int64)], domain="", constants=(1,), shapes=free)
    kept = np.array([True, False, True, True])
    yield "strings_compress", case("Compress", [x, kept], domain="", axis=1, shapes=free)
    yield "strings_reshape", case("Reshape", [x, np.array([-1, 2], np.int64)], domain="", constants=(1,), shapes=free)
    yield "strings_feature", case("ArrayFeatureExtractor", [x, np.array([3, 0], np.int64)], domain=LEARNING)


def texts():
    """Strings that are made into others, or looked into."""
    x = words(8)
    free = {0: ("n",)}
    for action in ("NONE", "LOWER", "UPPER"):
        for exact in (0, 1):
            kw = {"case_change_action": action, "is_case_sensitive": exact, "stopwords": ["paris", "NAÏVE", "rome"]}
            name = f"string_normalizer_{action}_{exact}"
            yield name, case("StringNormalizer", [x], domain="", shapes=free, locale="C.UTF-8", **kw)
    kw = {"stopwords": WORDS, "case_change_action": "NONE", "locale": "C.UTF-8"}
    yield "string_normalizer_all", case("StringNormalizer", [words(1, 2)], domain="", **kw)
    for mode in ("TF", "IDF", "TFIDF"):
        for low, high, skip in ((1, 1, 0), (1, 2, 0), (2, 2, 3), (1, 3, 1)):
            kw = {"mode": mode, "min_gram_length": low, "max_gram_length": high, "max_skip_count": skip}
            kw |= {"ngram_counts": [0, 3, 7], "ngram_indexes": [3, 1, 2, 0, 4, 5], "weights": normal(6).tolist()}
            numbers = integers(1, 5, (3, 9), np.int64)
            pool = [1, 2, 3, 1, 2, 3, 3, 2, 1, 4]
            name = f"tfidf_{mode}_{low}{high}{skip}"
            yield name, case("TfIdfVectorizer", [numbers], domain="", pool_int64s=pool, shapes={0: ("n", "c")}, **kw)
            given = [np.array(["?", "a", "b", "c", "d"], object)[numbers[0]]]
            pool = [" abcd"[i] for i in pool]
            yield f"{name}_strings", case("TfIdfVectorizer", given, domain="", pool_strings=pool, **kw)


def numbers():
    """Numbers as strings, and strings as numbers."""
    free = {0: ("n",)}
    texts = [f"{v:.{d}e}" for d in (3, 7, 14) for v in RNG.standard_normal(40) * 10.0 ** RNG.integers(-30, 30, 40)]
    texts += ["0", "-0", "12", ".5", "-7.", "1e5", "+2.5E-3", " 3.25", "00012.5", "1e-45", "3e38", "inf", "-INF", "nan"]
    for name, to in (("float", 1), ("double", 11)):
        yield f"cast_string_to_{name}", case("Cast", [np.array(texts, object)], domain="", shapes=free, to=to), "1e-6 0"
    wholes = [str(v) for v in RNG.integers(-(10**17), 10**17, 40)] + ["0", "-1", "+5", " 12", "007"]
    yield "cast_string_to_int64", case("Cast", [np.array(wholes, object)], domain="", shapes=free, to=7)
    yield "cast_string_to_int32", case("Cast", [np.array(["-5", "2147483647"], object)], domain="", to=6)
    for kind in (np.int8, np.uint8, np.int32, np.int64, np.uint64):
        limits = np.iinfo(kind)
        values = np.array([0, 1, 9, 10, 99, limits.max, limits.min, limits.max // 3], kind)
        yield f"cast_{kind.__name__}_to_string", case("Cast", [values], domain="", shapes=free, to=8)


def strings():
    """All of these."""
    for family in (categories, movements, texts, numbers):
        yield from family()
