//! Sizes that only the run knows: windows over symbolic axes, and what is required of them.

use super::{check, lowered};
use nnc_kernels::interpret::{RunError, run};

/// Small numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }
}

/// Windows one after the other over an axis of any size from the least that all of them fit: the memory of each is
/// planned by an expression that is 0 there.
#[test]
fn windows_over_symbolic_axes() {
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    for _ in 0..24 {
        let (mut lines, mut size) = (String::new(), "t".to_owned());
        let mut counts: Vec<Box<dyn Fn(i64) -> i64>> = vec![];
        for layer in 0..1 + numbers.below(3) {
            let (width, stride) = (1 + numbers.below(5) as i64, 1 + numbers.below(3) as i64);
            let (low, high) = (numbers.below(3) as i64, numbers.below(3) as i64);
            let (low, high) = (low.min(width - 1), high.min(width - 1));
            let (from, to) = (layer, layer + 1);
            let room = low + high - width;
            size = format!("floor(({size} + {} - {width})/{stride}) + 1", low + high);
            let window =
                format!("{{size=[{width}] strides=[{stride}] dilations=[1] pad_low=[{low}] pad_high=[{high}]}}");
            let op = if numbers.below(2) == 0 { "max" } else { "sum" };
            lines += &format!("%{to} = pool %{from} op={op} window={window} : f32[2, {size}, 3]\n");
            counts.push(Box::new(move |t| (t + room).div_euclid(stride) + 1));
        }
        let least = (0..).find(|&t| counts.iter().try_fold(t, |t, count| Some(count(t)).filter(|n| *n >= 0)).is_some());
        let least = least.expect("a size that fits");
        let last = counts.len();
        let text = format!("dim t in {least}..\ngraph @t(%0: f32[2, t, 3]) -> (y: %{last}) {{\n{lines}}}");
        check(&text, &[least, least + 1, least + 6, 40], 1e-5);
    }
}

/// Nothing is read of a tensor without elements, though what was read would not depend on the loops that never run.
#[test]
fn empty_tensors_are_not_read() {
    for (from, to) in [("3, 0, 7", "3, 1, 0, 7"), ("2, 0", "0, 5"), ("4, 0, 0, 3", "0, 3")] {
        let axes = |shape: &str| (0..shape.split(',').count()).map(|a| a.to_string()).collect::<Vec<_>>().join(", ");
        let text = format!(
            "graph @t(%0: f32[{from}], %1: i64[{from}]) -> (y: %5, z: %8) {{
               %2 = reshape %0 shape=[{to}] : f32[{to}]
               %3 = exp %2 : f32[{to}]
               %4 = reshape %3 shape=[{from}] : f32[{from}]
               %5 = reduce %4 op=sum axes=[{all}] : f32[]
               %6 = reshape %1 shape=[{to}] : i64[{to}]
               %7 = gather_elements %3, %6 axis=0 : f32[{to}]
               %8 = reduce %7 op=sum axes=[{others}] : f32[]
             }}",
            all = axes(from),
            others = axes(to),
        );
        check(&text, &[1], 1e-6);
    }
}

#[test]
fn what_is_required_is_checked() {
    // Of inputs, before anything runs; of data, by a step; in a branch, only when it is taken.
    let text = |then: &str| {
        format!(
            "dim n in 0..
             dim m in 0..
             dim k in 0..9 from node
             graph @t(%0: f32[n], %1: f32[m], %2: i64[], %3: bool[]) -> (y: %4, z: %5) {{
               bind_dims %2 symbols=[k]
               require left=k relation=at_most right=n what=\"the end on axis 0\"
               %4 = slice %0 starts=[0] sizes=[k] steps=[1] : f32[k]
               {then}
             }}"
        )
    };
    let branch = |relation: &str| {
        format!(
            "graph @b(%0: f32[n]) -> (r: %1) {{
               {relation}
               %1 = slice %0 starts=[0] sizes=[2] steps=[1] : f32[2]
             }}"
        )
    };
    let zeros = "graph @b(%0: f32[n]) -> (r: %2) {
                   %1 = constant f32[] splat=0.0
                   %2 = broadcast %1 shape=[2] axes=[] : f32[2]
                 }";
    let require = "require left=2 relation=at_most right=n what=\"the end on axis 0\"";
    let conditional =
        text(&format!("%5 = if %3, %0 varying=[] sizes=[] then={} otherwise={zeros} : f32[2]", branch(require)));
    let equal = text(
        "require left=n relation=equal right=m what=\"a size\"
         %5 = iota dtype=i64 shape=[2] axis=0 : i64[2]",
    );
    let bytes = |count: usize| vec![0u8; 4 * count];
    let found = |text: &str, n: usize, m: usize, k: i64, taken: u8| {
        let inputs = [
            (vec![n as i64], bytes(n)),
            (vec![m as i64], bytes(m)),
            (vec![], k.to_le_bytes().to_vec()),
            (vec![], vec![taken]),
        ];
        match run(&lowered(text), &inputs) {
            Ok(_) => "fine".to_owned(),
            Err(RunError::Check { what, left, right, .. }) => format!("{what}: {left}, {right}"),
            Err(other) => other.to_string(),
        }
    };
    assert_eq!(found(&equal, 3, 3, 2, 0), "fine");
    assert_eq!(found(&equal, 3, 4, 2, 0), "a size: 3, 4");
    assert_eq!(found(&equal, 3, 3, 4, 0), "the end on axis 0: 4, 3");
    assert_eq!(found(&conditional, 1, 1, 0, 0), "fine");
    assert_eq!(found(&conditional, 1, 1, 0, 1), "the end on axis 0: 2, 1");
    assert_eq!(found(&conditional, 2, 1, 0, 1), "fine");
}
