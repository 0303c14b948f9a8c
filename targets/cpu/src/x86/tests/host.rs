//! Running generated code: executable memory, and buffers that end (or start) at a page that may not be touched.

use std::ptr;

use nnc_desc::Target;
use nnc_kernels::Kernel;

use crate::x86::MachineCode;

const PAGE: usize = 4096;

/// Pages of memory between two pages without access.
struct Pages {
    base: *mut u8,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> Pages {
        let bytes = bytes.max(1).div_ceil(PAGE) * PAGE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing memory; the inner
        // pages, which belong to it, are then opened for access.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let whole = libc::mmap(ptr::null_mut(), bytes + 2 * PAGE, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(whole, libc::MAP_FAILED, "mmap");
            let base = whole.cast::<u8>().add(PAGE);
            assert_eq!(libc::mprotect(base.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE), 0, "mprotect");
            Pages { base, bytes }
        }
    }

    fn make_executable(&self) {
        // SAFETY: the range is this mapping's own.
        let done = unsafe { libc::mprotect(self.base.cast(), self.bytes, libc::PROT_READ | libc::PROT_EXEC) };
        assert_eq!(done, 0, "mprotect");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        unsafe {
            libc::munmap(self.base.sub(PAGE).cast(), self.bytes + 2 * PAGE);
        }
    }
}

/// Generated code that can be called.
pub struct Function {
    pages: Pages,
}

impl Function {
    /// Makes code executable.
    pub fn new(code: &MachineCode) -> Function {
        let pages = Pages::new(code.bytes.len());
        // SAFETY: the mapping is at least as long as the code, and writable until it becomes executable.
        unsafe { ptr::copy_nonoverlapping(code.bytes.as_ptr(), pages.base, code.bytes.len()) };
        pages.make_executable();
        Function { pages }
    }

    /// Runs it on copies of the buffers that end right before an inaccessible page.
    pub fn run(&self, kernel: &Kernel, buffers: &mut [Vec<u8>], params: &[i64], begin: i64, end: i64) -> i32 {
        let guarded: Vec<(Pages, *mut u8)> = buffers
            .iter()
            .map(|bytes| {
                let pages = Pages::new(bytes.len());
                // SAFETY: the mapping is at least as long as the buffer.
                let start = unsafe { pages.base.add(pages.bytes - bytes.len()) };
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
                (pages, start)
            })
            .collect();
        assert_eq!(kernel.params.len(), params.len());
        let pointers: Vec<*mut u8> = guarded.iter().map(|(_, start)| *start).collect();
        let status = self.call(&pointers, params, begin, end);
        for (bytes, (_, start)) in buffers.iter_mut().zip(&guarded) {
            // SAFETY: as above, now copying back.
            unsafe { ptr::copy_nonoverlapping(*start, bytes.as_mut_ptr(), bytes.len()) };
        }
        status
    }

    /// Runs it on memory as given.
    pub fn call(&self, buffers: &[*mut u8], params: &[i64], begin: i64, end: i64) -> i32 {
        type Entry = extern "C" fn(*const *mut u8, *const i64, i64, i64) -> i32;
        // SAFETY: the page holds code that `compile` made for this signature. What it touches beyond its arguments'
        // buffers is what the tests are after; guard pages turn that into a fault.
        let entry: Entry = unsafe { std::mem::transmute(self.pages.base) };
        entry(buffers.as_ptr(), params.as_ptr(), begin, end)
    }
}

/// The targets of this generator whose code this machine can run.
pub fn targets() -> Vec<Target> {
    let native = Target::parse("native").expect("a host target");
    ["x86_64-avx2", "x86_64-avx512"]
        .iter()
        .map(|name| Target::parse(name).expect("a base target"))
        .filter(|t| t.features.iter().all(|f| native.features.has(f)))
        .collect()
}
