//! Recurrent layers: where their states lie.

use super::check;

/// The last state is wanted where its units are not side by side.
#[test]
fn last_states_among_others() {
    check(
        "graph @t(%0: f64[4, 8, 4], %1: f64[8, 4]) -> (y: %7) {
           %2 = constant f64[4, 4] [0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
           %3 = constant f64[4] [0.1, 0.2, 0.3, 0.4]
           %4, %5 = recurrent %0, %2, %3, %1 cell={kind=rnn reverse=false activations=[tanh] clip=none input_forget=false peepholes=false sequence_lengths=false} : f64[4, 8, 4], f64[8, 4]
           %6 = transpose %5 perm=[1, 0] : f64[4, 8]
           %7 = concat %6, %6, %6 axis=1 : f64[4, 24]
         }",
        &[1],
        1e-9,
    );
}
