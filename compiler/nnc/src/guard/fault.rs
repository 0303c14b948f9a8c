//! Explains an access to a fence, in a process that is about to end by it.
//!
//! The process writes one line to standard error and ends with [`EXIT_CODE`]; whoever started it reads both. A fault
//! outside of a run takes its usual way.

use std::fmt::Write;
use std::mem::MaybeUninit;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::memory::Span;

/// The exit code of a process that touched a fence.
pub const EXIT_CODE: i32 = 86;

/// What stands between fences at the moment, and what is going on.
#[derive(Debug)]
pub struct Watched {
    /// The memory of the run.
    pub spans: Vec<Span>,
    /// The kind of run.
    pub run: &'static str,
}

static WATCHED: AtomicPtr<Watched> = AtomicPtr::new(std::ptr::null_mut());

/// Runs `body` while faults in these spans are explained. One at a time in a process.
pub fn watch<T>(watched: &mut Watched, body: impl FnOnce() -> T) -> T {
    install();
    WATCHED.store(watched, Ordering::SeqCst);
    let result = body();
    WATCHED.store(std::ptr::null_mut(), Ordering::SeqCst);
    result
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            // SAFETY: a zeroed `sigaction` is a valid one; the handler has the signature that `SA_SIGINFO` asks for and
            // calls nothing that is not safe in a signal handler.
            unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                let handler: unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
    });
}

/// # Safety
/// Called by the system alone.
unsafe extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system hands over a valid description of the fault; `WATCHED` is null or, while `watch` runs on the
    // thread that faulted, borrowed for it.
    unsafe {
        let address = (*info).si_addr() as usize;
        let watched = WATCHED.load(Ordering::SeqCst).as_ref();
        if let Some(watched) = watched {
            let mut line = Line { bytes: [0; 600], len: 0 };
            let (verb, run) = (verb(context), watched.run);
            let _ = match watched.spans.iter().find(|s| (s.first..s.end).contains(&address)) {
                Some(Span { name, data, len, .. }) => {
                    let at = address as isize - *data as isize;
                    writeln!(line, "{verb} byte {at} of {name}, which has {len} bytes ({run})")
                }
                // Where an address is not one at all, the system says 0.
                None => writeln!(line, "{verb} address {address:#x}, which is no memory of the run ({run})"),
            };
            libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len);
            libc::_exit(EXIT_CODE);
        }
        // The access is repeated and ends the process.
        libc::signal(signal, libc::SIG_DFL);
    }
}

/// What the access that faulted was.
///
/// # Safety
/// `context` is the third argument of a signal handler.
unsafe fn verb(context: *mut libc::c_void) -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the caller's promise. Bit 1 of a page fault's error code is set when it was a write.
        let code = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_ERR as usize] };
        if code & 2 != 0 { "writes" } else { "reads" }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = context;
        "touches"
    }
}

/// Text without an allocation; what is too long is cut off.
struct Line {
    bytes: [u8; 600],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.len() - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}
