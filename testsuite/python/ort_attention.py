"""Cases of ONNX Runtime's operators of attention, for `ort_cases.py`."""

import numpy as np

from ort_case import RNG, case, integers, normal


def attention():
    b, s, p, n, h = 2, 3, 4, 2, 8
    hidden = n * h
    x, weights, bias = normal(b, s, hidden), normal(hidden, 3 * hidden) * 0.3, normal(3 * hidden)
    past = normal(2, b, n, p, h)
    rows = np.array([[1, 1, 0], [0, 1, 1]], np.int32)
    nothing = np.array([[0, 0, 0], [0, 1, 1]], np.int32)
    plain = lambda inputs, outputs=1, **kw: case("Attention", inputs, outputs, (1, 2), num_heads=n, **kw)
    yield "attention", plain([x, weights, bias])
    free = {"shapes": {0: ("b", "s", hidden)}}
    yield "attention_free", plain([x, weights, bias], unidirectional=1, **free)
    yield "attention_scale", plain([x, weights, bias], scale=0.2)
    yield "attention_mask", plain([x, weights, bias, rows])
    yield "attention_mask_nothing", plain([x, weights, bias, nothing], mask_filter_value=-3.0)
    yield "attention_mask_lengths", plain([x, weights, bias, np.array([2, 3], np.int32)])
    yield "attention_mask_places", plain([x, weights, bias, np.array([2, 3, 0, 1], np.int32)])
    yield "attention_mask_pairs", plain([x, weights, bias, integers(0, 2, (b, s, s), np.int32)], unidirectional=1)
    yield "attention_past", plain([x, weights, bias, None, past], 2, unidirectional=1)
    wide = integers(0, 2, (b, p + s), np.int32)
    free = {"shapes": {0: ("b", "s", hidden), 3: ("b", "t"), 4: (2, "b", n, "p", h)}}
    yield "attention_past_free", plain([x, weights, bias, wide, past], 2, **free)
    yield "attention_bias", plain([x, weights, bias, None, None, normal(1, n, s, s)])
    sizes = normal(hidden, 2 * hidden + 12), normal(2 * hidden + 12)
    yield "attention_sizes", plain([x, *sizes], qkv_hidden_sizes=[hidden, hidden, 12])
    for kind, zero in ((np.uint8, 120), (np.int8, 3)):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1
        packed = integers(low, high, (hidden, 3 * hidden), kind)
        given = [integers(0, 256, (b, s, hidden), np.uint8), packed, bias, np.float32(0.02), np.float32(0.004)]
        zeros = [np.uint8(128), kind(zero)]
        yield f"q_attention_{kind.__name__}", case("QAttention", [*given, None, *zeros], constants=(1, 2, 3, 4, 6, 7), num_heads=n)
        given = [*given, rows, *zeros]
        yield f"q_attention_{kind.__name__}_mask", case("QAttention", given, num_heads=n, unidirectional=1)
        given[5] = np.concatenate([np.ones((b, p), np.int32), rows], 1)
        yield f"q_attention_{kind.__name__}_past", case("QAttention", [*given, past], 2, num_heads=n)
    scales = np.abs(normal(3 * hidden)) * 0.01
    columns = [*given[:4], scales, rows, np.uint8(128), np.zeros(3 * hidden, np.int8)]
    yield "q_attention_columns", case("QAttention", columns, constants=(1, 4), num_heads=n)


def multi_head_attention():
    b, s, l, p, n, h, w = 2, 3, 5, 4, 2, 8, 6
    q, k, v, bias = normal(b, s, n * h), normal(b, l, n * h), normal(b, l, n * w), normal(n * (2 * h + w))
    plain = lambda inputs, outputs=1, **kw: case("MultiHeadAttention", inputs, outputs, num_heads=n, **kw)
    yield "mha", plain([q, k, v])
    free = {"shapes": {0: ("b", "s", n * h), 1: ("b", "l", n * h), 2: ("b", "l", n * w)}}
    yield "mha_free", plain([q, k, v, bias], **free)
    yield "mha_scores", plain([q, k, v, bias], [0, 3], scale=0.3, floats=[3])
    yield "mha_padding", plain([q, k, v, bias, integers(0, 2, (b, l), np.int32)])
    yield "mha_lengths", plain([q, k, v, None, np.array([2, 5], np.int32)])
    yield "mha_bias", plain([q, k, v, bias, None, normal(1, n, s, l)])
    yield "mha_causal", plain([q, q, q, normal(3 * n * h)], unidirectional=1)
    past = [normal(b, n, p, h), normal(b, n, p, h)]
    mask = integers(0, 2, (b, p + s), np.int32)
    yield "mha_past", plain([q, q, q, normal(3 * n * h), mask, None, *past], 3)
    yield "mha_past_causal", plain([q, q, q, None, None, normal(b, n, s, p + s), *past], 3, unidirectional=1)
    heads = [normal(b, n, l, h), normal(b, n, l, h)]
    yield "mha_cross", plain([q, *heads])
    yield "mha_cross_bias", plain([q, *heads, normal(3 * n * h)])
    one, buffer = [normal(b, 1, n * h) for _ in range(3)], [normal(b, n, 8, h) for _ in range(2)]
    masked = lambda inputs, outputs=1, **kw: case("DecoderMaskedMultiHeadAttention", inputs, outputs, num_heads=n, **kw)
    yield "decoder_mha_cross", masked([one[0], *heads])
    shared = [*one, None, None, *buffer, np.array([5], np.int32)]
    yield "decoder_mha", masked(shared, 3, past_present_share_buffer=1)


def group_query_attention():
    b, n, g, h, room = 2, 4, 2, 16, 16
    angles = np.outer(np.arange(room), 0.5 ** np.arange(h // 2)).astype(np.float32)
    tables = [np.cos(angles), np.sin(angles)]

    def given(s, p, lengths, total, packed=False, rotary=False, free=False, more=(), **kw):
        q, k, v = normal(b, s, n * h), normal(b, s, g * h), normal(b, s, g * h)
        operands = [np.concatenate([q, k, v], 2), None, None] if packed else [q, k, v]
        past = [normal(b, g, p, h), normal(b, g, p, h)] if p else [None, None]
        for cached, length in ((c, i) for c in past if c is not None for i in range(b)):
            cached[length, :, max(lengths[length] + 1 - s, 0):] = 0
        numbers = [np.array(lengths, np.int32), np.array(total, np.int32)]
        inputs = [*operands, *past, *numbers, *(tables if rotary else [None, None] if more else []), *more]
        shapes = {0: ("b", "s", inputs[0].shape[2]), 5: ("b",)} if free else {}
        if free and not packed:
            shapes |= {1: ("b", "s", g * h), 2: ("b", "s", g * h)}
        if free and p:
            shapes |= {3: ("b", g, "p", h), 4: ("b", g, "p", h)}
        kw |= {"num_heads": n, "kv_num_heads": g, "do_rotary": int(rotary), "shapes": shapes}
        constants = (6,) if not free else ()
        return case("GroupQueryAttention", inputs, 3, constants, **kw)

    yield "gqa_prompt", given(4, 0, [3, 3], 4)
    yield "gqa_prompt_padded_packed", given(4, 0, [3, 3], 4, packed=True, rotary=True)
    yield "gqa_prompt_cache", given(4, 6, [3, 3], 4, rotary=True)
    yield "gqa_step", given(1, 5, [5, 5], 6, rotary=True)
    yield "gqa_step_ragged", given(1, 5, [5, 3], 6, packed=True, rotary=True)
    yield "gqa_step_shared", given(1, 9, [5, 3], 6, rotary=True, rotary_interleaved=1)
    yield "gqa_step_free", given(1, 5, [5, 3], 6, rotary=True, free=True)
    yield "gqa_step_free_shared", given(1, 9, [5, 3], 6, packed=True, free=True)
    yield "gqa_window", given(4, 0, [3, 3], 4, local_window_size=2)
    yield "gqa_window_step", given(1, 7, [7, 4], 8, local_window_size=3)
    yield "gqa_softcap", given(1, 5, [5, 3], 6, softcap=0.7, scale=0.6)
    yield "gqa_smooth", given(1, 5, [5, 3], 6, smooth_softmax=1)
    places = np.array([[2, 4, 6, 8], [1, 2, 3, 4]], np.int64)
    yield "gqa_places", given(4, 0, [3, 3], 4, rotary=True, more=[places])
    yield "gqa_places_step", given(1, 5, [5, 3], 6, rotary=True, more=[np.array([[9], [2]], np.int64)])
    yield "gqa_places_free", given(1, 5, [5, 3], 6, rotary=True, free=True, more=[np.array([[9], [2]], np.int64)])
    yield "gqa_bias", given(1, 5, [5, 3], 6, more=[None, normal(b, 1, 1, 6)])
    yield "gqa_sink", given(4, 0, [3, 3], 4, more=[None, None, normal(n)])
    yield "gqa_sink_softcap", given(1, 5, [5, 3], 6, softcap=0.5, more=[None, normal(1, n, 1, 6), normal(n)])
    for transposed in (False, True):
        x = normal(b, n, 3, h) if transposed else normal(b, 3, n * h)
        name = "rotary_heads_first" if transposed else "rotary"
        places = integers(0, room, (b, 3), np.int64)
        yield name, case("RotaryEmbedding", [x, places, *tables])
        yield f"{name}_interleaved", case("RotaryEmbedding", [x, np.array([5], np.int64), *tables], constants=(2, 3), interleaved=1)
        part = [x, places, *(t[:, :2].copy() for t in tables)]
        yield f"{name}_part", case("RotaryEmbedding", part, num_heads=n, rotary_embedding_dim=4)
