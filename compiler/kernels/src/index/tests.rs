//! Arithmetic, splitting, substitution and bounds of indices.

use super::*;

#[test]
fn dimensions_come_in_and_go_out_by_what_stands_for_what() {
    let (batch, seq) = (Symbol(7), Symbol(2));
    let dim = Dim::sym(batch) * Dim::sym(seq) * 4 + Dim::sym(seq).floor_div(&Dim::from(2)) + 1;
    let var_of = |symbol| if symbol == batch { Var(0) } else { Var(1) };
    let index = Index::import(&dim, &|symbol| var_of(symbol).index());
    assert_eq!(index.vars(), [Var(0), Var(1)]);
    assert_eq!(index, Var(0).index() * Var(1).index() * 4 + Var(1).index().floor_div(&Index::from(2)) + 1);
    assert_eq!(index.export(&|var| Dim::sym(if var == Var(0) { batch } else { seq })), dim);
    assert_eq!(index.export(&|_| Dim::from(6)), Dim::from(148));
}

#[test]
fn variables_swap_places_at_once() {
    let swapped = |var| Some(if var == Var(0) { Var(1).index() } else { Var(0).index() });
    let index = Var(0).index() * 3 + Var(1).index();
    assert_eq!(index.substitute(&swapped), Var(1).index() * 3 + Var(0).index());
    assert_eq!(index.eval(&|var| Some(i64::from(var.0) + 1)), Some(5));
    assert_eq!(index.eval(&|var| (var == Var(0)).then_some(1)), None);
}

#[test]
fn a_view_holds_all_of_the_index() {
    let index = Var(0).index() * Var(1).index() * 5 + Var(2).index().min(&Index::from(9)) - 3;
    let view = index.view();
    assert_eq!(view.constant, -3);
    let total = view.terms.into_iter().fold(Index::from(view.constant), |sum, (coefficient, factors)| {
        let product = factors.into_iter().fold(Index::from(coefficient), |product, factor| match factor {
            Factor::Var(var) => product * var.index(),
            Factor::Op(_, operands) => product * operands[0].min(&operands[1]),
        });
        sum + product
    });
    assert_eq!(total, index);
}

#[test]
fn text_has_the_names() {
    let mut names = Names::default();
    let (i, j) = (names.add("i"), names.add("j"));
    let index = i.index() * 8 + j.index() + 1;
    assert_eq!(names.display(&index).to_string(), "8*i + j + 1");
    assert_eq!(names.parse("8*i + j + 1"), Ok(index));
    assert_eq!((names.find("j"), names.find("k")), (Some(j), None));
}
