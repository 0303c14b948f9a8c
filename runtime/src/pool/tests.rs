//! Every iteration exactly once, whoever calls, however often, from wherever.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::*;

/// Runs a loop and asserts that each iteration ran once and ranges respect the grain.
fn check(pool: &Pool, count: usize, grain: usize) {
    let hits: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
    pool.parallel_for(count, grain, |range| {
        assert!(range.len() >= grain.min(count) || range.end == count, "{range:?} of {count} with grain {grain}");
        range.for_each(|i| assert_eq!(hits[i].fetch_add(1, Ordering::Relaxed), 0, "iteration {i} ran twice"));
    });
    assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1), "count {count}, grain {grain}");
}

#[test]
fn each_iteration_runs_once() {
    for threads in [1, 2, 3, 8] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads);
        for count in [0, 1, 2, 3, 7, 64, 1000, 4097] {
            for grain in [0, 1, 2, 5, 64, 5000] {
                check(&pool, count, grain);
            }
        }
    }
}

#[test]
fn many_short_loops() {
    let pool = Pool::new(4);
    for count in 0..20_000 {
        check(&pool, count % 50, 1);
    }
}

#[test]
fn loops_after_workers_fell_asleep() {
    let pool = Pool::new(4);
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(2));
        check(&pool, 100, 1);
    }
}

#[test]
fn many_callers_at_once() {
    let pool = Pool::new(4);
    std::thread::scope(|scope| {
        for caller in 0..24 {
            let pool = &pool;
            scope.spawn(move || (0..500).for_each(|i| check(pool, (i * 7 + caller) % 300, 1 + i % 3)));
        }
    });
}

#[test]
fn loops_inside_loops() {
    let pool = Pool::new(4);
    let done = AtomicUsize::new(0);
    for _ in 0..50 {
        pool.parallel_for(8, 1, |outer| {
            for _ in outer {
                pool.parallel_for(8, 1, |middle| {
                    middle.for_each(|_| check(&pool, 20, 1));
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    }
    assert!(done.load(Ordering::Relaxed) >= 50 * 8);
}

#[test]
fn long_chunks_put_the_caller_to_sleep_and_wake_it() {
    let pool = Pool::new(3);
    for _ in 0..5 {
        let helped = AtomicUsize::new(0);
        pool.parallel_for(3, 1, |range| {
            std::thread::sleep(std::time::Duration::from_millis(1 + 2 * range.start as u64));
            helped.fetch_add(range.len(), Ordering::Relaxed);
        });
        assert_eq!(helped.into_inner(), 3);
    }
}

#[test]
fn several_threads_do_take_part() {
    let pool = Pool::new(2);
    let together = AtomicUsize::new(0);
    // Two chunks that each wait for the other: only possible on two threads. Patient, as the machine may be busy.
    let start = std::time::Instant::now();
    pool.parallel_for(2, 1, |_| {
        together.fetch_add(1, Ordering::SeqCst);
        while together.load(Ordering::SeqCst) < 2 && start.elapsed().as_secs() < 20 {
            std::thread::yield_now();
        }
    });
    assert!(start.elapsed().as_secs() < 20, "the worker never came");
}

#[test]
fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
    let pool = Pool::new(4);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        pool.parallel_for(100, 1, |range| assert!(!range.contains(&50), "fifty"));
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"fifty"));
    check(&pool, 1000, 1);
}

/// A thread that looks whether the pool ends just before it does must not go to sleep for ever. The moment is short: Miri,
/// which tries many schedules of this test, finds a wrong order of looking at once, a processor in minutes.
#[test]
fn a_pool_ends_whenever_its_threads_look() {
    let rounds = if cfg!(miri) { 1 } else { 3000 };
    for round in 0..rounds {
        let pool = Pool::new(2 + round % 3);
        if round % 2 == 1 {
            check(&pool, 4, 1);
        }
        drop(pool);
    }
}

#[test]
fn pools_come_and_go() {
    for threads in 0..100 {
        check(&Pool::new(threads % 5), 10, 1);
    }
}

#[test]
fn huge_counts_do_not_overflow() {
    unsafe extern "C" fn add(data: *mut c_void, begin: i64, end: i64) {
        // SAFETY: the test passes an AtomicU64.
        let sum = unsafe { &*data.cast::<std::sync::atomic::AtomicU64>() };
        sum.fetch_add((end - begin) as u64, Ordering::Relaxed);
    }
    let pool = Pool::new(3);
    let context = pool.context();
    let parallel_for = context.parallel_for.unwrap();
    for (count, grain) in [(i64::MAX, 1), (i64::MAX, i64::MAX - 1), (-5, 1), (0, 0), (10, -3)] {
        let sum = std::sync::atomic::AtomicU64::new(0);
        let data = (&raw const sum).cast_mut().cast();
        // SAFETY: the body fits the data.
        unsafe { parallel_for(context.pool, count, grain, add, data) };
        assert_eq!(sum.into_inner(), count.max(0) as u64);
    }
}
