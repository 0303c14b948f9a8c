//! Translates models and says which can be: `cargo run --release -p nnc-ops --example translate -- PATH...`
//!
//! With `-p` the graph is printed as well.

fn main() {
    let (mut translated, mut total, mut print) = (0, 0, false);
    for path in std::env::args().skip(1) {
        if path == "-p" {
            print = true;
            continue;
        }
        total += 1;
        let result = nnc_onnx::Model::load(&path)
            .map_err(|e| e.to_string())
            .and_then(|model| nnc_ops::translate(&model, &nnc_ops::Options::default()).map_err(|e| e.to_string()));
        match result {
            Ok(graph) => {
                let sound = nnc_ir::verify::verify(&graph);
                let verdict = sound.as_ref().map_or_else(|e| format!("NOT WELL-FORMED: {e}"), |()| "ok".into());
                translated += usize::from(sound.is_ok());
                println!("{path}: {verdict}, {} nodes", graph.nodes.len());
                if print {
                    print!("{}", nnc_ir::print::graph(&graph));
                }
            }
            Err(error) => println!("{error}"),
        }
    }
    println!("{translated} of {total} translated");
}
