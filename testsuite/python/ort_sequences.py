"""Cases of `ort_cases.py` with sequences and optionals: of lengths and sizes that only the run knows, from inputs to
outputs, through branches and loops."""

import numpy as np
import onnx.parser

from ort_case import normal
from ort_strings import words


def model(text, **given):
    """A model in ONNX's text form, and its inputs."""
    header = '<ir_version: 10, opset_import: ["" : 21]>\n'
    given = {name: value if isinstance(value, list) else np.asarray(value) for name, value in given.items()}
    return onnx.parser.parse_model(header + text), given


def sizes(*values):
    return np.array(values, np.int64)


def packed():
    """Parts of a tensor, of sizes that are data."""
    for axis in (0, 1, 2):
        x, parts = normal(4, 5, 6), {0: sizes(1, 0, 3), 1: sizes(2, 3), 2: sizes(6)}[axis]
        text = f"""g (float[a, b, c] x, int64[k] s, int64 i) => (p, l, y, t) {{
            p = SplitToSequence <axis = {axis}> (x, s)
            l = SequenceLength (p)
            y = SequenceAt (p, i)
            t = ConcatFromSequence <axis = {axis}> (p)
        }}"""
        yield f"sequence_parts_{axis}", model(text, x=x, s=parts, i=np.int64(-1))
    x, e = normal(7, 2), normal(3, 2)
    text = """g (float[n, 2] x, float[m, 2] e, int64 w, int64 i, int64 j) => (b, d, f, t) {
        p = SplitToSequence (x, w)
        b = SequenceInsert (p, e)
        c = SequenceInsert (b, e, i)
        d = SequenceErase (c, j)
        f = SequenceErase (b)
        t = ConcatFromSequence <axis = 0> (c)
    }"""
    for i, j in ((0, 0), (2, -1), (-2, 1)):
        given = {"x": x, "e": e, "w": np.int64(3), "i": np.int64(i), "j": np.int64(j)}
        yield f"sequence_edited_{i}_{j}", model(text, **given)
    for axis in (0, 1, -1):
        text = f"""g (float[n, 2] x, int64 w) => (y) {{
            p = SplitToSequence (x, w)
            y = ConcatFromSequence <axis = {axis}, new_axis = 1> (p)
        }}"""
        yield f"sequence_stacked_{axis}", model(text, x=normal(6, 2), w=np.int64(2))
    for keep in (0, 1):
        text = f"""g (float[n, m] x, int64 i) => (p, y) {{
            p = SplitToSequence <axis = 1, keepdims = {keep}> (x)
            y = SequenceAt (p, i)
        }}"""
        yield f"sequence_slices_{keep}", model(text, x=normal(3, 4), i=np.int64(2))
    text = """g (string[n] x, string[1] e, int64 w, int64 i) => (d, y) {
        p = SplitToSequence (x, w)
        d = SequenceInsert (p, e, i)
        y = SequenceAt (d, i)
    }"""
    yield "sequence_strings", model(text, x=words(5), e=np.array(["new"], object), w=np.int64(2), i=np.int64(1))


def passed():
    """Sequences as inputs, results of branches and carried values."""
    given = [normal(2, 3), normal(0, 3), normal(4, 3)]
    text = """g (seq(float[n, 3]) x, int64 i) => (x2, y, t, l) {
        x2 = Identity (x)
        y = SequenceAt (x, i)
        t = ConcatFromSequence <axis = 0> (x)
        l = SequenceLength (x)
    }"""
    yield "sequence_given", model(text, x=given, i=np.int64(2))
    text = """g (seq(float[n, 3]) x, float[k, 3] e, bool c) => (y, l) {
        y = If (c) <
            then_branch = a () => (q) { q = SequenceInsert (x, e) },
            else_branch = b () => (r) { r = SequenceConstruct (e, e) }
        >
        l = SequenceLength (y)
    }"""
    for c in (False, True):
        yield f"sequence_chosen_{c}", model(text, x=given, e=normal(1, 3), c=np.bool_(c))
    text = """g (float[n] x, seq(float[m]) s) => (y) {
        n = Shape (x)
        go = Constant <value = bool {1}> ()
        one = Constant <value = int64[1] {1}> ()
        zero = Constant <value = int64[1] {0}> ()
        t = Squeeze (n)
        y = Loop (t, go, s) <body = b (int64 i, bool g, seq(float[m]) c) => (bool g2, seq(float[m]) d) {
            g2 = Identity (g)
            at = Unsqueeze (i, zero)
            end = Add (at, one)
            part = Slice (x, zero, end)
            d = SequenceInsert (c, part)
        }>
    }"""
    for n in (0, 4):
        yield f"sequence_grown_{n}", model(text, x=normal(n), s=[normal(2)])
    text = """g (float[n] x) => (y, z) {
        n = Shape (x)
        t = Squeeze (n)
        go = Constant <value = bool {1}> ()
        first = Constant <value = float[1, 2] {1.0, 2.0}> ()
        y, z = Loop (t, go, first, first) <body = b (int64 i, bool g, float[k, 2] c, float[j, 2] d)
                => (bool g2, float[k, 2] e, float[j, 2] f) {
            g2 = Identity (g)
            e = Concat <axis = 0> (c, first)
            h = Mul (d, d)
            f = Concat <axis = 0> (h, first)
        }>
    }"""
    yield "carried_growing", model(text, x=normal(3))
    text = """g (string[n] x, bool c) => (y) {
        y = If (c) <
            then_branch = a () => (q) { q = Concat <axis = 0> (x, x) },
            else_branch = b () => (r) { r = Identity (x) }
        >
    }"""
    for c in (False, True):
        yield f"strings_chosen_{c}", model(text, x=words(3), c=np.bool_(c))


def sequences():
    yield from packed()
    yield from passed()
