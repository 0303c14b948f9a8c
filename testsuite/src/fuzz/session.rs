//! One run of the fuzzer: its helper processes, its folders, and what it counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nnc::errors::{Failure, Result};

use super::Arguments;
use super::case::Case;
use super::check::{Config, Fault, Verdict, targets};
use super::oracle::{self, Opinion, Oracle};
use super::random::Random;
use super::worker::Worker;

/// What a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All agreed.
    Passed {
        /// Runs of compiled code that were compared.
        runs: usize,
        /// What was not compared, and why.
        notes: Vec<String>,
    },
    /// nnc does not take the case; why.
    Refused(String),
    /// Something is wrong: what, and where the case lies.
    Wrong(String),
}

/// Counts of one family.
#[derive(Default)]
struct Tally {
    cases: usize,
    refused: usize,
    wrong: usize,
    runs: usize,
    notes: BTreeMap<String, usize>,
}

/// A run of the fuzzer.
pub struct Session {
    worker: Worker,
    oracle: Oracle,
    scratch: tempfile::TempDir,
    out: PathBuf,
    shrink: bool,
    tallies: BTreeMap<&'static str, Tally>,
}

/// The factor by which floats may be further off in cases of the repository, whose expected values come from anywhere.
const CASES_FACTOR: f64 = 4.0;

impl Session {
    /// A session whose workers are started with `program`.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new(program: &Path, arguments: &Arguments) -> Result<Session> {
        let scratch = tempfile::tempdir().map_err(|e| Failure::user(format!("no folder for temporary files: {e}")))?;
        Ok(Session {
            worker: Worker::new(program),
            oracle: Oracle::new(oracle::python().as_deref()),
            scratch,
            out: arguments.out.clone(),
            shrink: !arguments.no_shrink,
            tallies: BTreeMap::new(),
        })
    }

    /// Whether ONNX Runtime is there.
    pub fn has_oracle(&self) -> bool {
        self.oracle.is_there()
    }

    /// Whether failures are to be made small.
    pub fn shrinks(&self) -> bool {
        self.shrink
    }

    /// The folder for failing cases.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// A folder for temporary files.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Checks a case in a worker; `notes` receives what could not be compared.
    ///
    /// # Errors
    /// When a helper process cannot be started.
    pub fn verdict(
        &mut self,
        case: &Case,
        configs: &[Config],
        factor: f64,
        notes: &mut Vec<String>,
    ) -> Result<Verdict> {
        let folder = self.scratch.path().join("case");
        case.write(&folder)?;
        if let super::case::Source::Model(_) = case.source
            && !case.lone
            && let Opinion::Refused(why) = self.oracle.ask(&folder)?
        {
            notes.push(format!("ONNX Runtime: {}", class(&why)));
        }
        self.worker.check(&folder, configs, factor)
    }

    /// Checks a case and writes it into the output folder when it is wrong; `smaller` makes it small first.
    ///
    /// # Errors
    /// When a helper process cannot be started or the case not written.
    pub fn differential(
        &mut self,
        name: &str,
        case: &Case,
        configs: &[Config],
        smaller: impl FnOnce(&mut Session, &Verdict, &[Config]) -> Result<Case>,
    ) -> Result<Outcome> {
        let mut notes = vec![];
        let verdict = self.verdict(case, configs, 1.0, &mut notes)?;
        match verdict {
            Verdict::Ok { runs, refused } => {
                notes.extend(refused.iter().map(|r| format!("nnc: {}", class(r))));
                Ok(Outcome::Passed { runs, notes })
            }
            Verdict::Refused(why) => Ok(Outcome::Refused(class(&why))),
            Verdict::Wrong { ref fault, ref config, ref detail } => {
                let mut text = format!("{fault:?}");
                if let Some(config) = config {
                    text += &format!(" ({config})");
                }
                text += &format!(": {detail}");
                let configs: Vec<Config> = config.clone().map_or_else(|| configs.to_vec(), |c| vec![c]);
                let small = if self.shrink { smaller(self, &verdict, &configs)? } else { case.clone() };
                let folder = self.out.join(name);
                small.write(&folder)?;
                // The expected values, where ONNX Runtime has some.
                if matches!(small.source, super::case::Source::Model(_)) && !small.lone {
                    self.oracle.ask(&std::path::absolute(&folder).unwrap_or(folder.clone()))?;
                }
                let note = folder.join("found.txt");
                std::fs::write(&note, format!("{name}\n{text}\n"))
                    .map_err(|e| Failure::io(&note, "cannot be written", &e))?;
                Ok(Outcome::Wrong(format!("{text}; see {}", folder.display())))
            }
        }
    }

    /// Whether a case still shows the same fault.
    ///
    /// # Errors
    /// When a helper process cannot be started.
    pub fn shows(&mut self, case: &Case, configs: &[Config], fault: &Fault) -> Result<bool> {
        let mut notes = vec![];
        let verdict = self.verdict(case, configs, 1.0, &mut notes)?;
        Ok(matches!(verdict, Verdict::Wrong { fault: ref same, .. } if same == fault))
    }

    /// Checks every case of a folder on all targets; whether all is well.
    ///
    /// # Errors
    /// When the folder cannot be read, or no worker can be started.
    pub fn cases(&mut self, folder: &Path) -> Result<bool> {
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.map_err(|e| Failure::io(folder, "cannot be read", &e))?;
        let mut folders: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).filter(|p| p.is_dir()).collect();
        folders.sort();
        let configs = every_config();
        let mut wrong = 0;
        for folder in &folders {
            let line = match self.worker.check(folder, &configs, CASES_FACTOR)? {
                Verdict::Ok { runs, refused } if refused.is_empty() && runs > 0 => continue,
                Verdict::Ok { refused, .. } => {
                    format!("nothing was run: {}", refused.first().map_or("no data set", String::as_str))
                }
                Verdict::Refused(why) => why,
                Verdict::Wrong { fault, config, detail } => {
                    format!("{fault:?} {}: {detail}", config.map_or(String::new(), |c| c.to_string()))
                }
            };
            wrong += 1;
            println!("{}: {line}", folder.display());
        }
        println!("{} cases, {wrong} of them wrong", folders.len());
        Ok(wrong == 0)
    }

    /// Counts what a seed came to.
    pub fn count(&mut self, family: &'static str, outcome: &Outcome) {
        let tally = self.tallies.entry(family).or_default();
        tally.cases += 1;
        match outcome {
            Outcome::Passed { runs, notes } => {
                tally.runs += runs;
                notes.iter().for_each(|note| *tally.notes.entry(note.clone()).or_default() += 1);
            }
            Outcome::Refused(why) => {
                tally.refused += 1;
                *tally.notes.entry(format!("refused: {why}")).or_default() += 1;
            }
            Outcome::Wrong(_) => tally.wrong += 1,
        }
    }

    /// Prints what was counted.
    pub fn report(&self) {
        for (family, tally) in &self.tallies {
            let Tally { cases, refused, wrong, runs, notes } = tally;
            println!("{family}: {cases} cases, {runs} runs compared, {refused} refused, {wrong} wrong");
            let mut notes: Vec<_> = notes.iter().collect();
            notes.sort_by_key(|(text, count)| (std::cmp::Reverse(**count), text.as_str()));
            for (text, count) in notes.iter().take(25) {
                println!("  {count:5} {text}");
            }
        }
    }
}

/// A message without what differs from case to case: names and numbers.
pub(super) fn class(message: &str) -> String {
    let mut text = String::new();
    let mut quoted = false;
    for c in message.chars().take(220) {
        match c {
            '`' => quoted = !quoted,
            c if quoted && !c.is_ascii_uppercase() => {}
            c if c.is_ascii_digit() => {
                if !text.ends_with('#') {
                    text.push('#');
                }
            }
            c => text.push(c),
        }
    }
    text.rsplit_once("model.onnx: ").map_or(text.clone(), |(_, rest)| rest.to_owned())
}

/// Every way in which cases of the repository are compiled.
fn every_config() -> Vec<Config> {
    let ways = [(false, false), (true, false), (false, true)];
    let all = targets().into_iter().flat_map(|target| ways.map(|(strict, plain)| (target, strict, plain)));
    let config = |(target, strict, plain): (&str, bool, bool)| Config {
        target: target.to_owned(),
        strict,
        plain,
        fuel: None,
        fixed: false,
        threads: vec![1, 2],
    };
    all.map(config).collect()
}

/// Some of the ways to compile: one always plain, the others drawn.
pub fn some_configs(random: &mut Random, count: usize) -> Vec<Config> {
    let targets = targets();
    let config = |i: usize, random: &mut Random| Config {
        target: (*random.of(&targets)).to_owned(),
        strict: i > 0 && random.percent(30),
        plain: i > 0 && random.percent(10),
        fuel: match random.below(10) {
            _ if i == 0 => None,
            0 | 1 => Some(0),
            2 | 3 => Some(random.below(30)),
            _ => None,
        },
        fixed: i > 0 && random.percent(25),
        threads: if random.percent(20) { vec![1, 2, 8] } else { vec![1, 2] },
    };
    (0..count).map(|i| config(i, random)).collect()
}
