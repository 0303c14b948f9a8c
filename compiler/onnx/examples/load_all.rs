//! Loads the given model files and prints what is refused.
fn main() {
    let mut ok = 0;
    let mut bad = 0;
    for path in std::env::args().skip(1) {
        match nnc_onnx::Model::load(&path) {
            Ok(model) => {
                ok += 1;
                if std::env::var("V").is_ok() {
                    println!(
                        "{path}: {} nodes {} constants",
                        model.graph.nodes.len(),
                        model.graph.initializers.len()
                    )
                }
            }
            Err(error) => {
                bad += 1;
                println!("{error}");
            }
        }
    }
    println!("{ok} loaded, {bad} refused");
}
