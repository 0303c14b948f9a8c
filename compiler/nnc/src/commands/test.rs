//! `nnc test`: runs test cases in worker processes and reports them in order.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use indicatif::ProgressBar;
use nnc_desc::Target;

use super::worker::{self, Verdict};
use crate::errors::{Blame, Failure, Result};
use crate::{cases, progress};

mod child;

use child::Child;

/// Arguments of `nnc test`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Case folders (model.onnx, test_data_set_*), or folders of such folders
    #[arg(required = true, value_name = "CASE_DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    how: worker::Arguments,
    /// Command that runs the cases: an emulator and the nnc that it runs; by default this nnc
    #[arg(long)]
    worker: Option<String>,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

/// How many cases came out how.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    unsupported: usize,
}

/// Runs the command; the exit code is 1 if a case failed, 2 if nothing is wrong but that models are unsupported.
///
/// # Errors
/// When there is no case, or no worker can be started.
pub fn run(arguments: &Arguments) -> Result<u8> {
    Target::parse(&arguments.how.target)?;
    let cases = cases::discover(&arguments.folders)?;
    let bar = progress::bar(cases.len() as u64, "testing");
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(cases.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let tally = std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, cases, next) = (sender.clone(), &cases, &next);
            scope.spawn(move || {
                let mut child = Child::new(arguments.worker.as_deref(), &arguments.how);
                while let Some((i, case)) = take(next, cases) {
                    let verdict = child.as_mut().map_err(|e| e.clone()).and_then(|child| child.run(case));
                    let sent = sender.send((i, verdict));
                    if sent.is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        report(&cases, &bar, &receiver)
    })?;
    bar.finish_and_clear();
    let Tally { passed, failed, unsupported } = tally;
    let total = cases.len();
    if arguments.json {
        progress::line(serde_json::json!({
            "passed": passed,
            "failed": failed,
            "unsupported": unsupported,
            "total": total,
        }))?;
    } else {
        progress::line(format!("{passed} of {total} passed, {failed} failed ({unsupported} of them unsupported)"))?;
    }
    Ok(match (failed, unsupported) {
        (0, _) => 0,
        (failed, unsupported) if failed == unsupported => Blame::Compiler.exit_code(),
        _ => Blame::User.exit_code(),
    })
}

fn take<'a>(next: &AtomicUsize, cases: &'a [PathBuf]) -> Option<(usize, &'a PathBuf)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    Some((i, cases.get(i)?))
}

/// Prints the verdicts in the order of the cases, each as soon as those before it are there.
fn report(cases: &[PathBuf], bar: &ProgressBar, verdicts: &mpsc::Receiver<(usize, Result<Verdict>)>) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut waiting: Vec<Option<Verdict>> = vec![None; cases.len()];
    let mut printed = 0;
    for (i, verdict) in verdicts {
        waiting[i] = Some(verdict?);
        while let Some(verdict) = waiting.get_mut(printed).and_then(Option::take) {
            let case = cases[printed].display();
            let text = match verdict {
                Verdict::Ok => {
                    tally.passed += 1;
                    format!("{case}: ok")
                }
                Verdict::Failed(reason) => {
                    tally.failed += 1;
                    format!("{case}: FAILED {}", Failure::user(reason))
                }
                Verdict::Unsupported(reason) => {
                    tally.failed += 1;
                    tally.unsupported += 1;
                    format!("{case}: unsupported {}", Failure::user(reason))
                }
            };
            // A bar that is drawn must be lifted for each line; on a pipe there is none.
            let lifted = std::io::stderr().is_terminal().then_some(bar);
            progress::print(lifted, &format!("{text}\n"))?;
            printed += 1;
        }
        bar.set_position(printed as u64);
    }
    Ok(tally)
}
