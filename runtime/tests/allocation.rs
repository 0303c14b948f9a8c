//! A runner whose dimensions repeat allocates nothing. Alone in its file, as it counts for the whole process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use nnc_runtime::{Model, Pool, Runner, TensorRef, Threads};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, with a counter.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn repeated_runs_do_not_allocate() {
    let path = common::folder("allocation").join("twice.so");
    if !common::model(&path, &[]) {
        return;
    }
    let model = Model::load(&path).unwrap();
    for threads in [Threads::Serial, Threads::Pool(Pool::new(3))] {
        let mut runner = Runner::new(model.clone(), threads);
        let x = [1f32; 100];
        runner.run(&[TensorRef::new(&[100], &x)]).unwrap();
        // The pool's threads allocate while they start.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..100 {
            runner.run(&[TensorRef::new(&[100], &x)]).unwrap();
            assert_eq!(runner.output(0).as_slice::<f32>().unwrap()[99], 2.0);
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
    }
}
