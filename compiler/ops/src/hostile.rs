//! No model makes a translation panic: every operator with random operands, attributes and opsets.
//!
//! Most of these models are refused. Those that are not must verify, and run or fail in the interpreter without a
//! panic. The random numbers are the same in every run; `NNC_HOSTILE=N` tries N times as many.

use crate::registry::{NEWEST_OPSET, Operator, operators};
use crate::testing::{Sketch, sketch};
use crate::{Options, survey};
use nnc_onnx::{Attribute, ElemType};

/// A small generator (Knuth's 64-bit linear congruential one); quality is no concern.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % n.max(1) as u64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn int(&mut self) -> i64 {
        self.of(&[0, 1, -1, 2, 3, 1, 0, -2, 7, 1 << 20, i64::MAX, i64::MIN, -(1 << 40)])
    }
}

const ELEM_TYPES: &[ElemType] = &[
    ElemType::Float,
    ElemType::Float,
    ElemType::Float,
    ElemType::Int64,
    ElemType::Int64,
    ElemType::Bool,
    ElemType::Uint8,
    ElemType::Int8,
    ElemType::Int32,
    ElemType::Float16,
    ElemType::Double,
    ElemType::Int4,
    ElemType::Float8E5M2,
];

const SHAPES: &[&str] = &[
    "",
    "1",
    "3",
    "2 3",
    "2 3",
    "3 3",
    "1 2 4",
    "1 4 3 3",
    "1 4 3 3",
    "2 1 3 1 2",
    "n",
    "n 3",
    "2 n",
    "1 n 4 4",
    "0",
    "0 3",
];

const INT_NAMES: &[&str] = &[
    "axis",
    "keepdims",
    "to",
    "k",
    "blocksize",
    "upper",
    "exclusive",
    "reverse",
    "fmod",
    "batch_dims",
    "group",
    "num_outputs",
    "num_groups",
    "stash_type",
    "allowzero",
    "start",
    "end",
    "transA",
    "transB",
    "largest",
    "p",
    "batch_axis",
    "time_axis",
    "training_mode",
    "noop_with_empty_axes",
    "hidden_size",
    "dtype",
    "num_heads",
    "q_num_heads",
    "kv_num_heads",
    "ceil_mode",
    "broadcast",
    "new_axis",
    "num_scan_inputs",
    "seed",
    "block_size",
    "detect_negative",
    "layout",
    "align_corners",
    "is_causal",
    "output_dtype",
    "sorted",
    "storage_order",
    "size",
    "onesided",
    "inverse",
    "center_point_box",
    "output_height",
    "output_width",
    "sampling_ratio",
    "interleaved",
];

const LIST_NAMES: &[&str] = &[
    "axes",
    "perm",
    "split",
    "pads",
    "kernel_shape",
    "strides",
    "dilations",
    "starts",
    "ends",
    "output_padding",
    "output_shape",
    "value_ints",
    "scan_input_axes",
    "scan_output_axes",
    "repeats",
    "scales",
    "sizes",
];

const STRINGS: &[(&str, &[&str])] = &[
    ("mode", &["constant", "reflect", "edge", "wrap", "linear", "cubic", "nearest", "DCR", "CRD", "x"]),
    ("equation", &["ij,jk->ik", "...i,...i->...", "ii->i", "i,j", ",", "->", "a...a->a", "ij->ijk"]),
    ("auto_pad", &["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "x"]),
    ("direction", &["LEFT", "RIGHT", "forward", "reverse", "bidirectional"]),
    ("reduction", &["none", "add", "mul", "max", "min", "mean", "sum", "x"]),
    ("approximate", &["none", "tanh", "x"]),
    ("coordinate_transformation_mode", &["half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize"]),
    ("padding_mode", &["zeros", "border", "reflection"]),
];

fn operand(sketch: Sketch, draw: &mut Draw, name: &str) -> Sketch {
    if draw.below(3) == 0 {
        // A short constant, as shape operands are.
        let count = draw.below(5);
        let values: Vec<i64> = (0..count).map(|_| draw.int()).collect();
        return match draw.below(4) {
            0 => sketch.ints(name, &[], &[draw.int()]),
            1 => sketch.floats(name, &[count], &values.iter().map(|&v| v as f32).collect::<Vec<f32>>()),
            _ => sketch.ints(name, &[count], &values),
        };
    }
    let elem_type = draw.of(ELEM_TYPES);
    let shape = draw.of(SHAPES);
    sketch.input(name, elem_type, shape)
}

fn body(draw: &mut Draw) -> Sketch {
    let inputs = draw.below(4);
    let mut body = sketch();
    for i in 0..inputs {
        body = body.input(&format!("b{i}"), ElemType::Float, "1");
    }
    let operator = draw.of(&["Identity", "Neg", "Add", "NonZero", "Shape"]);
    let (first, second) = (draw.of(&["b0", "b1", "x0"]), draw.of(&["x0", "b1", "x1"]));
    body = body.node(operator, &format!("{first} {second} -> r"));
    for output in ["b0", "r", "r"].iter().take(1 + draw.below(3)) {
        body = body.output(output);
    }
    body
}

fn model(operator: &Operator, draw: &mut Draw) -> Sketch {
    let opset = draw.of(&[NEWEST_OPSET, NEWEST_OPSET, 21, 18, 17, 13, 12, 11, 10, 9, 7, 6]);
    let mut sketch = sketch().opset(opset);
    let inputs = draw.below(6);
    let mut names = vec![];
    let like = draw.below(3) == 0;
    for i in 0..inputs {
        let name = format!("x{i}");
        if i > 0 && like {
            // Operands of one type get further than others.
            names.push("x0".to_owned());
        } else if draw.below(8) == 0 {
            names.push("_".to_owned());
        } else {
            sketch = operand(sketch, draw, &name);
            names.push(name);
        }
    }
    let outputs = ["y", "y1", "y2", "y3"][..1 + draw.below(4)].join(" ");
    sketch = sketch.node(operator.name, &format!("{} -> {outputs}", names.join(" ")));
    if let Some(node) = sketch.model.graph.nodes.last_mut() {
        node.domain = operator.domain.to_owned();
    }
    for _ in 0..draw.below(4) {
        sketch = match draw.below(8) {
            0 | 1 => sketch.int(draw.of(INT_NAMES), draw.int()),
            2 => sketch.int("axis", draw.below(5) as i64 - 2),
            3 => sketch.float(draw.of(&["alpha", "beta", "epsilon", "bias", "scale", "momentum"]), draw.int() as f32),
            4 | 5 => {
                let values: Vec<i64> = (0..draw.below(7)).map(|_| draw.int()).collect();
                sketch.attribute(draw.of(LIST_NAMES), Attribute::Ints(values))
            }
            6 => {
                let (name, values) = draw.of(STRINGS);
                sketch.string(name, draw.of(values))
            }
            _ => {
                let name = draw.of(&["body", "then_branch", "else_branch"]);
                sketch.graph(name, body(draw))
            }
        };
    }
    // Operators with a subgraph do nothing without one.
    for name in match operator.name {
        "If" => &["then_branch", "else_branch"][..],
        "Loop" | "Scan" | "SequenceMap" => &["body"],
        _ => &[],
    } {
        sketch = sketch.graph(name, body(draw));
    }
    sketch.output("y")
}

#[test]
fn nothing_panics() {
    let times = std::env::var("NNC_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize);
    for (seed, operator) in operators().iter().enumerate() {
        let mut draw = Draw(seed as u64);
        for round in 0..60 * times {
            let sketch = model(operator, &mut draw);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let survey = survey(&sketch.model, &Options::default());
                let translated = sketch.translate();
                // The two agree on whether anything is wrong, whatever else a survey finds; it leaves out what is missing.
                let error = translated.as_ref().err().filter(|e| !e.message.contains("operators not supported"));
                assert!(error.is_none() || !survey.refused.is_empty(), "{error:?} {survey:?}");
                assert!(translated.is_err() || survey.refused.is_empty(), "{survey:?}");
                let graph = translated.ok()?;
                Some(nnc_ir::verify::verify(&graph).err().map(|errors| format!("{errors:?}")))
            }));
            match outcome {
                Ok(Some(Some(errors))) => {
                    panic!("{} round {round}: {errors}\n{:#?}", operator.name, sketch.model.graph)
                }
                Ok(_) => {}
                Err(_) => panic!("{} round {round} panics\n{:#?}", operator.name, sketch.model.graph),
            }
        }
    }
}
