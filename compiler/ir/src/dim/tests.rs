//! Tests of canonical form, simplification, bounds and text.

use super::*;
use proptest::prelude::*;

fn table() -> DimTable {
    table_of(&[("a", 0, 6), ("b", 1, 7), ("c", -5, 5), ("odd name", 0, i64::MAX)])
}

fn table_of(symbols: &[(&str, i64, i64)]) -> DimTable {
    let mut table = DimTable::default();
    for &(name, min, max) in symbols {
        table.new_symbol(SymbolInfo { min, max, ..SymbolInfo::input(name) });
    }
    table
}

fn dim(text: &str) -> Dim {
    table().parse(text).unwrap()
}

/// Expressions together with how to compute them: the oracle is plain integer arithmetic.
#[derive(Clone, Debug)]
enum Tree {
    Const(i64),
    Sym(u32),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Floor(Box<Tree>, Box<Tree>),
    Ceil(Box<Tree>, Box<Tree>),
    Rem(Box<Tree>, Box<Tree>),
    Min(Box<Tree>, Box<Tree>),
    Max(Box<Tree>, Box<Tree>),
    Eq(Box<Tree>, Box<Tree>),
    Lt(Box<Tree>, Box<Tree>),
    Select(Box<Tree>, Box<Tree>, Box<Tree>),
}

impl Tree {
    fn dim(&self) -> Dim {
        use Tree::*;
        match self {
            Const(v) => Dim::from(*v),
            Sym(s) => Dim::sym(Symbol(*s)),
            Add(a, b) => a.dim() + b.dim(),
            Sub(a, b) => a.dim() - b.dim(),
            Mul(a, b) => a.dim() * b.dim(),
            Floor(a, b) => a.dim().floor_div(&b.dim()),
            Ceil(a, b) => a.dim().ceil_div(&b.dim()),
            Rem(a, b) => a.dim().rem(&b.dim()),
            Min(a, b) => a.dim().min(&b.dim()),
            Max(a, b) => a.dim().max(&b.dim()),
            Eq(a, b) => a.dim().eq01(&b.dim()),
            Lt(a, b) => a.dim().lt01(&b.dim()),
            Select(c, a, b) => c.dim().select(&a.dim(), &b.dim()),
        }
    }

    /// The value, when every part of the tree is defined.
    fn value(&self, symbols: &[i64]) -> Option<i64> {
        use Tree::*;
        let floor = |a: i64, b: i64| (b != 0).then(|| (a as f64 / b as f64).floor() as i64);
        Some(match self {
            Const(v) => *v,
            Sym(s) => symbols[*s as usize],
            Add(a, b) => a.value(symbols)? + b.value(symbols)?,
            Sub(a, b) => a.value(symbols)? - b.value(symbols)?,
            Mul(a, b) => a.value(symbols)?.checked_mul(b.value(symbols)?).filter(|v| v.abs() < 1 << 40)?,
            Floor(a, b) => floor(a.value(symbols)?, b.value(symbols)?)?,
            Ceil(a, b) => -floor(-a.value(symbols)?, b.value(symbols)?)?,
            Rem(a, b) => {
                let (a, b) = (a.value(symbols)?, b.value(symbols)?);
                a - b * floor(a, b)?
            }
            Min(a, b) => a.value(symbols)?.min(b.value(symbols)?),
            Max(a, b) => a.value(symbols)?.max(b.value(symbols)?),
            Eq(a, b) => i64::from(a.value(symbols)? == b.value(symbols)?),
            Lt(a, b) => i64::from(a.value(symbols)? < b.value(symbols)?),
            Select(c, a, b) => {
                let (c, a, b) = (c.value(symbols)?, a.value(symbols)?, b.value(symbols)?);
                if c != 0 { a } else { b }
            }
        })
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    tree_over(3)
}

fn tree_over(symbols: u32) -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![(-9i64..10).prop_map(Tree::Const), (0..symbols).prop_map(Tree::Sym)];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        let make = |f: fn(Box<Tree>, Box<Tree>) -> Tree| two.clone().prop_map(move |(a, b)| f(a, b));
        prop_oneof![
            3 => make(Tree::Add),
            3 => make(Tree::Sub),
            3 => make(Tree::Mul),
            2 => make(Tree::Floor),
            1 => make(Tree::Ceil),
            1 => make(Tree::Rem),
            1 => make(Tree::Min),
            1 => make(Tree::Max),
            1 => make(Tree::Eq),
            1 => make(Tree::Lt),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(c, a, b)| Tree::Select(Box::new(c), Box::new(a), Box::new(b))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn construction_keeps_the_value(tree in tree(), a in 0i64..7, b in 1i64..8, c in -5i64..6) {
        let symbols = [a, b, c];
        let dim = tree.dim();
        prop_assume!(dim != Dim::OVERFLOW);
        if let Some(expected) = tree.value(&symbols) {
            let of = |s: Symbol| symbols.get(s.0 as usize).copied();
            prop_assert_eq!(dim.eval(&of), Some(expected), "{}", dim);
            let simplified = dim.simplify(&table());
            prop_assert_eq!(simplified.eval(&of), Some(expected), "{} -> {}", dim, simplified);
            let substituted = dim.substitute(&|s| of(s).map(Dim::from));
            prop_assert_eq!(substituted.as_const(), Some(expected), "{}", dim);
            let (low, high) = dim.bounds(&table());
            prop_assert!(low <= expected && expected <= high, "{} in {}..={}", dim, low, high);
        }
    }

    #[test]
    fn extremes_hold_whatever_the_data_is(
        tree in tree_over(6), a in 0i64..7, b in 1i64..8, c in -5i64..6, d in 0i64..=1, e in 0i64..=100, f in 0i64..=100,
    ) {
        // Data defines the last three: a condition, a count of at most `a*b`, one of at most `e + 2` and 9.
        let mut table = table_of(&[("a", 0, 6), ("b", 1, 7), ("c", -5, 5)]);
        table.fresh("d", 0, 1, None);
        table.fresh("e", 0, i64::MAX, Some(Dim::sym(Symbol(0)) * Dim::sym(Symbol(1))));
        table.fresh("f", -3, 9, Some(Dim::sym(Symbol(4)) + 2));
        let e = e % (a * b + 1);
        let f = f % ((e + 2).min(9) + 4) - 3;
        let symbols = [a, b, c, d, e, f];
        let dim = tree.dim();
        let of = |s: Symbol| symbols.get(s.0 as usize).copied();
        if let Some(value) = tree.value(&symbols).filter(|_| dim != Dim::OVERFLOW) {
            for (bound, greatest) in [(dim.greatest(&table), true), (dim.least(&table), false)] {
                let Some(bound) = bound else { continue };
                prop_assert!(!bound.depends_on_data(&table), "{} is no bound of {}", bound, dim);
                if let Some(end) = bound.eval(&of) {
                    let holds = if greatest { value <= end } else { end <= value };
                    prop_assert!(holds, "{} is {}, beyond {} = {}", dim, value, bound, end);
                }
            }
        }
    }

    #[test]
    fn text_round_trips(tree in tree()) {
        let table = table();
        let dim = tree.dim();
        let text = table.display(&dim).to_string();
        prop_assert_eq!(table.parse(&text), Ok(dim), "{}", text);
    }

    #[test]
    fn ring_laws_are_structural(x in tree(), y in tree(), z in tree()) {
        let (x, y, z) = (x.dim(), y.dim(), z.dim());
        let results = [&x + &y, &x * &y, &x * (&y + &z), &x * &y + &x * &z, (&x * &y) * &z, &x * (&y * &z)];
        // An overflow on one way and not on the other is allowed.
        prop_assume!(!results.contains(&Dim::OVERFLOW) && ![&x, &y, &z].contains(&&Dim::OVERFLOW));
        prop_assert_eq!(&x + &y, &y + &x);
        prop_assert_eq!(&x * &y, &y * &x);
        prop_assert_eq!(&results[2], &results[3]);
        prop_assert_eq!(&results[4], &results[5]);
        prop_assert_eq!(&x - &x, Dim::ZERO);
        prop_assert_eq!(&x + &y - &y, x);
    }

    #[test]
    fn hostile_text_is_refused_without_panic(text in "[a-c0-9+*/%(), \"\\\\-]{0,40}") {
        let _ = table().parse(&text);
    }
}

#[test]
fn simplifications() {
    // Left: what is built; right: the text of its canonical form.
    for (built, expected) in [
        ("a*b*768/768", "a*b"),
        ("a*b*64/b", "64*a"),
        ("(4*a + 3)/4", "a"),
        ("(4*a + 5)/4", "a + 1"),
        ("(5*a)/4", "a + floor(a/4)"),
        ("(2*a + 3)/4", "floor((a + 1)/2)"),
        ("((a + 1)/2 + 1)/2", "floor((a + 3)/4)"),
        ("ceil(a/2)", "floor((a + 1)/2)"),
        ("(a*b + b*c)/(a + c)", "b"),
        ("12*a*(b + 1)*64/(b + 1)", "768*a"),
        ("(6*a*b)/(4*b)", "a + floor(a/2)"),
        ("mod(4*a + 7, 4)", "3"),
        ("mod(6*a + 5, 4)", "2*mod(a, 2) + 1"),
        ("mod(a*b, b)", "0"),
        ("min(a, a + 1)", "a"),
        ("max(a, min(b, 3), a - 2)", "max(a, min(3, b))"),
        ("max(1, max(2, a))", "max(2, a)"),
        ("eq(a + 1, a)", "0"),
        ("eq(2*a, 3)", "0"),
        ("eq(2*a, 4)", "eq(a, 2)"),
        ("lt(2*a, 3)", "lt(a, 2)"),
        ("lt(0, a)", "lt(0, a)"),
        ("select(1, a, b)", "a"),
        ("a - a", "0"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("\"odd name\"*2", "2*\"odd name\""),
    ] {
        let built = dim(built);
        assert_eq!(table().display(&built).to_string(), expected);
    }
}

#[test]
fn bounds_decide() {
    let mut table = table();
    let (n, m) = (table.new_symbol(SymbolInfo::input("n")), table.new_symbol(SymbolInfo::input("m")));
    let count = table.fresh("count", 0, i64::MAX, Some(Dim::sym(n) * Dim::sym(m)));
    assert_eq!(table.get(count).name, "count_0");
    let ge = |a: &str, b: &str| table.parse(a).unwrap().provably_ge(&table.parse(b).unwrap(), &table);
    assert!(ge("n + 1", "1"));
    assert!(!ge("n", "1"));
    assert!(ge("n*m", "count_0"));
    assert!(ge("n*b", "n"));
    assert!(!ge("n*a", "n"));
    assert!(ge("floor((n + 3)/2)", "1"));
    // What a pooling that rounds its size up adds at the end: at most one, never two.
    assert!(ge("1 + floor((n + 1)/2)", "2*floor((n + 3)/4)"));
    assert!(!ge("floor((n + 1)/2)", "2*floor((n + 3)/4)"));
    assert!(ge("max(n, 4)", "4"));
    assert_eq!(dim("a*b + 1").bounds(&table), (1, 43));
    assert_eq!(dim("c*c").bounds(&table), (0, 25));
    assert_eq!(table.parse("n + 5").unwrap().bounds(&table), (5, i64::MAX));
    let simplified = table.parse("min(n, 9223372036854775807)").unwrap().simplify(&table);
    assert_eq!(table.display(&simplified).to_string(), "n");
    assert!(!Dim::OVERFLOW.provably_ge(&Dim::sym(n), &table));
}

/// The index of a pair of rows among positions of rows and columns: what is below a row does not reach the next.
#[test]
fn divisions_by_several_steps() {
    let mut table = table_of(&[("n", 0, i64::MAX), ("m", 0, i64::MAX), ("k", 0, 63)]);
    let [n, m] = [0, 1].map(|s| Dim::sym(Symbol(s)));
    table.fresh("i", 0, i64::MAX, Some(&n - 1));
    table.fresh("j", 0, i64::MAX, Some(&m - 1));
    for (text, expected) in [
        ("floor((n*m*k + m*i_0 + j_0)/(2*n*m))", "floor(k/2)"),
        ("floor((4*n*m*k + m*i_0 + j_0)/(8*n*m))", "floor(k/2)"),
        ("floor((3*n*m*k + 2*n*m + m*i_0 + j_0)/(6*n*m))", "floor((3*k + 2)/6)"),
        ("floor((n*m*k + m*i_0 + j_0 + 1)/(2*n*m))", "floor((n*m*k + m*i_0 + j_0 + 1)/(2*n*m))"),
        ("floor((n*m*k + m*i_0 - j_0)/(2*n*m))", "floor((n*m*k + m*i_0 - j_0)/(2*n*m))"),
    ] {
        let simplified = table.parse(text).unwrap().simplify(&table);
        assert_eq!(simplified, table.parse(expected).unwrap(), "{text} -> {}", table.display(&simplified));
    }
}

#[test]
fn extremes() {
    let mut table = table_of(&[("n", 0, i64::MAX), ("m", 0, i64::MAX)]);
    table.fresh("count", 0, i64::MAX, Some(Dim::sym(Symbol(0))));
    table.fresh("c", 0, 1, None);
    table.fresh("open", 0, i64::MAX, None);
    for (text, greatest, least) in [
        ("n - m", "n - m", "n - m"),
        ("count_0*m", "n*m", "0"),
        // Greatest where the count is least.
        ("n - count_0", "n", "0"),
        ("n - min(count_0, 5)", "n", "n - min(5, n)"),
        ("floor((n - count_0)/2)*m", "m*floor(n/2)", "0"),
        // The branches of a conditional are not added up.
        ("select(c_0, n, 0) + select(c_0, 0, m)", "max(n, m)", "min(n, m)"),
        ("min(open_0, n)", "n", "min(0, n)"),
        ("mod(open_0, 7)", "6", "0"),
        ("open_0 + 1", "none", "1"),
        ("n - open_0", "n", "none"),
    ] {
        let dim = table.parse(text).unwrap();
        let show = |d: Option<Dim>| d.map_or("none".to_owned(), |d| table.display(&d).to_string());
        assert_eq!(
            (show(dim.greatest(&table)).as_str(), show(dim.least(&table)).as_str()),
            (greatest, least),
            "{text}"
        );
    }
}

#[test]
fn overflow_is_a_value() {
    let big = Dim::from(i64::MAX - 1);
    assert_eq!(&big * &big, Dim::OVERFLOW);
    assert_eq!(&big + 2, Dim::OVERFLOW);
    assert_eq!(Dim::OVERFLOW + dim("a"), Dim::OVERFLOW);
    assert_eq!(Dim::from(i64::MIN).floor_div(&Dim::from(-1)), Dim::OVERFLOW);
    // Growth without limit ends in the overflow rather than in exhausted memory or stack.
    let mut deep = dim("a");
    let mut wide = dim("a + b + c + 1");
    for _ in 0..200 {
        deep = (deep + 1).max(&dim("b")).floor_div(&dim("c"));
        wide = &wide * &wide;
    }
    assert_eq!((deep, wide), (Dim::OVERFLOW, Dim::OVERFLOW));
    assert_eq!(dim("a/0").eval(&|_| Some(1)), None);
    assert!(table().parse(&"(".repeat(100_000)).is_err());
}

#[test]
fn missing_names_are_created_only_on_request() {
    let mut table = DimTable::default();
    assert_eq!(table.parse("past + 1"), Err(DimParseError::UnknownSymbol("past".into())));
    assert!(table.parse_with("past + ", true).is_err());
    assert!(table.is_empty());
    let dim = table.parse_with("past + batch*past", true).unwrap();
    assert_eq!(table.len(), 2);
    assert_eq!(table.display(&dim).to_string(), "past*batch + past");
    assert_eq!(dim.symbols(), vec![Symbol(0), Symbol(1)]);
    assert_eq!(dim.view().terms.len(), 2);
}
