//! How many threads are worth having.
//!
//! The least of: the affinity mask and the cgroup (v1 or v2) quota, both of which
//! [`std::thread::available_parallelism`] reads; and the number of cores in the affinity mask, as two threads on one
//! core share its multipliers and gain nothing in dense arithmetic.

use std::collections::BTreeSet;

/// No pool has more threads.
pub const MAX_THREADS: usize = 1024;

/// Overrides the size of the shared pool.
pub const THREADS_VARIABLE: &str = "NNC_THREADS";

/// The size of the shared pool.
pub fn default_threads() -> usize {
    let asked = std::env::var(THREADS_VARIABLE).ok().and_then(|text| text.parse().ok()).filter(|&n: &usize| n > 0);
    asked.unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        processors.min(cores().unwrap_or(processors))
    })
}

/// Distinct cores among the processors this process may use; `None` when the system does not tell.
fn cores() -> Option<usize> {
    let mut cores = BTreeSet::new();
    for processor in allowed_processors()? {
        let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
        // The older name of the same list comes second.
        let siblings = std::fs::read_to_string(format!("{topology}/core_cpus_list"))
            .or_else(|_| std::fs::read_to_string(format!("{topology}/thread_siblings_list")));
        cores.insert(siblings.ok()?);
    }
    (!cores.is_empty()).then_some(cores.len())
}

fn allowed_processors() -> Option<Vec<usize>> {
    // SAFETY: a set of bits, for which zero is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is writable and has the size given; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return None;
    }
    // SAFETY: the index is below the set's size.
    Some((0..libc::CPU_SETSIZE as usize).filter(|&i| unsafe { libc::CPU_ISSET(i, &set) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_and_no_more_than_processors() {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        if std::env::var_os(THREADS_VARIABLE).is_none() {
            assert!((1..=processors).contains(&default_threads()));
        }
    }
}
