//! Text to program and back.

use crate::{Argument, BufferId, KernelId, Pack, SizeCheck, Step, parse, print, verify};
use nnc_ir::op::Relation;
use nnc_ir::parse::Constants;
use nnc_ir::print::short_hash;
use nnc_ir::{Dim, Symbol, Tensor};

/// Everything once; `HASH0` and `HASH1` stand for the hashes of the weights.
const ALL: &str = "\
program sample {
  dim n: input 0..=64
  dim \"odd name\": input -1..
  dim n..: input 2..=9
  dim count: node 0.. below n*\"odd name\"
  input x: f32[n, 4]
  input \"a b\": bool[]
  output y: f32[count, \"odd name\"]
  output z: i64[]
  state 0 input 1 output 1
  state 1 input 0 output 0 axis 1 up to 9
  weight 0: f32[4, 6] HASH0 plain
  weight 1: f32[2, 4, 6] HASH1 panels batch (2 by 24) sum (2 by 12, 2 by 6) columns 6 by 1 width 16
  weight 2: f32[4, 6] HASH0 panels batch () sum () columns 6 by 4 width 8
  buffer x: f32 bytes 16*n at input 0
  buffer \"a b\": bool bytes 1 at input 1
  buffer y: f32 bytes 4*\"odd name\"*count at output 0
  buffer z: i64 bytes 8 at state 0
  buffer weight0: f32 bytes 96 at weight 0
  buffer y#5: f32 bytes 4*n at workspace 64*floor((n + 15)/16)
  buffer \"\": i64 bytes 8 at workspace 0
  buffer \"\"#7: i64 bytes 8 at workspace 64
  buffer y#8: i64 bytes max(8, n) at workspace 128
  check \"the \\\"rows\\\"\": n at_most n.. from \"Gemm \\\"fc\\\"\"
  check \"\": -n + 64 equal \"odd name\" from \"\"
  workspace 64*floor((n + 15)/16) + 192
  kernel @first(x: read f32 align 4, y: write f32 align 4; n: i64) parallel p in 0..n {
    store y[p] = load x[4*p]
  }
  kernel @\"load\"(c: write i64 align 8) parallel p in 0..1 {
    store c[p] = 3i64
  }
  kernel @nothing() parallel p in 0..1 {
  }
  steps {
    run @first(x[4*n], y#5; n) over 0..n work 5*n apart from \"Slice\"
    run @\"load\"(\"\"#7) over 0..1 work 1 from \"\"
    run @nothing() over 0..1 work 1 from \"a\\nb\"
    run @nothing(; n, n + 1) over 0..n.. work n.. apart from \"x\"
    bind count = \"\" in n.. ..= n*\"odd name\" from \"NonZero\"
    check \"a size\": count equal n from \"Reshape\"
    if \"a b\" {
      while \"a b\"[n] {
        run @first(y#5, y; count) over 0..count work 1 from \"Loop\"
        if \"a b\" {
        }
      }
      bind count = y#8[count] in 0 ..= 4 from \"\"
    } else {
      check \"b\": 1 equal count from \"If\"
    }
    if \"a b\" {
    } else {
      run @\"load\"(y#8) over 0..1 work 1 from \"If\"
    }
    while \"a b\" {
    }
  }
}
";

/// The sample's text, and what its hashes stand for.
fn sample() -> (String, Constants) {
    let weights = [&[4, 6][..], &[2, 4, 6]].map(|shape| {
        let elements: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &elements)
    });
    let mut text = ALL.to_owned();
    let mut constants = Constants::default();
    for (i, weight) in weights.into_iter().enumerate() {
        text = text.replace(&format!("HASH{i}"), &short_hash(&weight));
        constants.add(weight);
    }
    (text, constants)
}

#[test]
fn everything_comes_back() {
    let (text, constants) = sample();
    let program = parse::program(&text, &constants).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(print::program(&program), text);
    assert_eq!(parse::program(&text, &program.constants()), Ok(program.clone()));
    let commented = format!("; a program\n{}; the end\n", text.replace("  steps {\n", "  ; as planned\n  steps {\n"));
    assert_eq!(parse::program(&commented, &constants), Ok(program));
}

#[test]
fn names_mean_what_the_printer_meant() {
    let (text, constants) = sample();
    let program = parse::program(&text, &constants).unwrap_or_else(|e| panic!("{e}"));
    let named = |name: &str| program.dims.find(name).map(Dim::sym).unwrap_or_else(|| panic!("{name}"));
    let run = Step::Run {
        kernel: KernelId(0),
        arguments: vec![
            Argument { buffer: BufferId(0), offset: named("n") * 4 },
            Argument { buffer: BufferId(5), offset: Dim::ZERO },
        ],
        params: vec![named("n")],
        extent: named("n"),
        work: named("n") * 5,
        apart: true,
        origin: "Slice".to_owned(),
    };
    assert_eq!(program.steps[0], run);
    let bind = Step::Bind {
        symbol: Symbol(3),
        source: Argument { buffer: BufferId(6), offset: Dim::ZERO },
        min: named("n.."),
        max: named("n") * named("odd name"),
        origin: "NonZero".to_owned(),
    };
    assert_eq!(program.steps[4], bind);
    let check = SizeCheck {
        left: named("n"),
        relation: Relation::AtMost,
        right: named("n.."),
        what: "the \"rows\"".to_owned(),
        origin: "Gemm \"fc\"".to_owned(),
    };
    assert_eq!(program.checks[0], check);
    let Step::If { then, otherwise, .. } = &program.steps[7] else { panic!("{:?}", program.steps[7]) };
    assert_eq!((then.len(), otherwise.len()), (0, 1));
    let batch = vec![(2, 24)];
    let pack =
        Pack::Panels { batch, sum: vec![(2, 12), (2, 6)], columns: 6, column_stride: 1, width: 16, halves: false };
    assert_eq!(program.weights[1].pack, pack);
}

#[test]
fn errors_name_the_place() {
    let (text, constants) = sample();
    let check = |old: &str, new: &str, problem: &str| {
        let damaged = text.replacen(old, new, 1);
        assert_ne!(damaged, text, "{old}");
        let line = damaged.lines().zip(text.lines()).position(|(a, b)| a != b).map(|at| at + 1);
        let error = parse::program(&damaged, &constants).expect_err(&damaged);
        assert_eq!(Some(error.line), line, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    };
    check("dim n..:", "dim n:", "dimension `n` is declared twice");
    check("node 0..", "data 0..", "expected `input` or `node`");
    check("below n*", "below m*", "unknown dimension `m`");
    check("input x:", "input x", "expected `:`");
    check("weight 1:", "weight 2:", "expected `1`");
    check(" panels batch", " folded batch", "expected `plain` or `panels`");
    check("f32[4, 6] ", "f32[6, 4] ", "no constant is given for weight 0, f32[6, 4] with hash");
    check("buffer y#5:", "buffer y:", "expected `#5` behind the name");
    check("buffer y#5:", "buffer y#6:", "expected number 5");
    check("at weight 0", "at weight 3", "unknown weight 3");
    check("at input 1", "at 1", "expected `input`, `output`, `state`, `weight` or `workspace`");
    check("up to 9", "up 9", "is no state");
    check("state 1", "state 2", "expected `1`");
    check("at_most", "below", "expected `equal` or `at_most`");
    check("@\"load\"(c", "@first(c", "kernel `first` is declared twice");
    check("@nothing() over", "@something() over", "unknown kernel `something`");
    check("y#5; n)", "y#4; n)", "unknown buffer `y`");
    check("y#5; n)", "q; n)", "unknown buffer `q`");
    check("bind count", "bind size", "unknown dimension `size`");
    check("0 ..= 4", "0 to 4", "expected `..=`");
    check("    while", "    until", "expected `run`, `bind`, `check`, `if`, `while` or `}`");
    check("from \"Slice\"", "of \"Slice\"", "expected `from`");
    let missing = parse::program(&text, &Constants::default()).map(|_| ());
    let message = missing.expect_err("no constants").to_string();
    assert!(message.starts_with("line 12: no constant is given for weight 0, f32[4, 6] with hash `"), "{message}");
    let rest = parse::program(&format!("{text}steps"), &constants).map(|_| ()).expect_err("more text");
    assert!(rest.problem.contains("expected the end"), "{rest}");
}

/// What the verifier accepts is read, and no deeper nesting.
#[test]
fn nesting_is_limited() {
    let nested = |count: usize| {
        let (open, close) = ("while b { ".repeat(count), "} ".repeat(count));
        let text = format!(
            "program p {{ input b: bool[] buffer b: bool bytes 1 at input 0 workspace 0 steps {{ {open}{close}}} }}"
        );
        parse::program(&text, &Constants::default())
    };
    let most = verify::MAX_NESTING as usize;
    let program = nested(most).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify::program(&program), Ok(()));
    for count in [most + 1, 100_000] {
        assert!(nested(count).expect_err("too deep").problem.contains("nested too deeply"));
    }
}

#[test]
fn no_text_panics() {
    let (text, constants) = sample();
    // Every prefix, and every single character replaced.
    for end in (0..text.len()).filter(|&i| text.is_char_boundary(i)) {
        let _ = parse::program(&text[..end], &constants);
        for other in ["(", "}", "\"", "-", "9", "#", " ", "é"] {
            let damaged = format!("{}{other}{}", &text[..end], &text[end + 1..]);
            if let Ok(program) = parse::program(&damaged, &constants) {
                let _ = verify::program(&program);
                let again = parse::program(&print::program(&program), &constants);
                assert_eq!(again, Ok(program), "{damaged}");
            }
        }
    }
}
