// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of a process, after the manner of `std::thread`.
//!
//! `init` makes as many as the system description says (`threads`) when the process starts, each
//! with a stack above a guard page, an IPC buffer and the process's priority. [`spawn`] lets one of
//! them run. All share the private memory and all capabilities of the process; each switches
//! between VASes for itself.
//!
//! What a thread is to do, and later its result, lies at the top of its stack. So no heap is
//! needed, and a thread whose result nobody has taken cannot be used again.
//!
//! A thread that panics or faults ends the process, and so does the end of the main function.

use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use protocol::address_map::{PAGE_BYTES, stack_top};
use protocol::limits::THREADS;
use protocol::process::{ActiveSpace, slot, thread_word};
use sel4::{UserContext, cap};

/// Nobody uses the thread.
const FREE: usize = 0;
/// It runs, and someone has its handle.
const RUNNING: usize = 1;
/// It runs, and nobody has its handle.
const DETACHED: usize = 2;
/// It has left its result to who has its handle.
const FINISHED: usize = 3;

/// What becomes of a thread.
struct State {
    phase: AtomicUsize,
    /// Who waits for its end: the number of that thread plus 1.
    waiting: AtomicUsize,
}

static STATES: [State; THREADS] = [const {
    State {
        phase: AtomicUsize::new(FREE),
        waiting: AtomicUsize::new(0),
    }
}; THREADS];

/// Interrupts enabled, all else clear.
const RFLAGS: u64 = 0x202;
/// Words of a [`UserContext`].
const REGISTERS: u64 = (size_of::<UserContext>() / size_of::<u64>()) as u64;

/// Why a thread was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// All threads that the system description gives to the component are in use.
    NoneLeft,
    /// What the closure has with it, or its result, takes more than half of a stack.
    TooLarge,
    /// The kernel refused: the process has spoilt its own capabilities.
    Kernel(sel4::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::NoneLeft => out.write_str("all threads of the process are in use"),
            SpawnError::TooLarge => out.write_str("too large for the stack of a thread"),
            SpawnError::Kernel(error) => write!(out, "the kernel refused: {error}"),
        }
    }
}

impl core::error::Error for SpawnError {}

/// Why the end of a thread cannot be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// It is the calling thread.
    Itself,
}

impl fmt::Display for JoinError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a thread cannot wait for its own end")
    }
}

impl core::error::Error for JoinError {}

/// What lies at the top of a thread's stack.
union Packet<F, T> {
    todo: ManuallyDrop<F>,
    result: ManuallyDrop<T>,
}

/// The right to the result of a thread. Dropping it lets the thread run on by itself.
pub struct JoinHandle<T> {
    thread: usize,
    result: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: it is the only way to the result.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a reference tells no more than whether the thread has ended.
unsafe impl<T> Sync for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JoinHandle({})", self.thread)
    }
}

/// The number of the calling thread; that of the first is 0.
#[inline]
pub fn number() -> usize {
    sel4::thread_word(thread_word::NUMBER) as usize
}

/// Starts a thread, outside of all VASes, that calls the closure and ends with its result. It must
/// be outside again by then, or it panics.
///
/// # Errors
/// Those of [`SpawnError`]; nothing is left of the closure then.
pub fn spawn<F, T>(closure: F) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let info = crate::start_info();
    let size = size_of::<Packet<F, T>>();
    let align = align_of::<Packet<F, T>>().max(align_of::<u128>());
    if (size + align) as u64 > info.stack_bytes / 2 || align as u64 > PAGE_BYTES {
        return Err(SpawnError::TooLarge);
    }
    let mut threads = 1..usize::from(info.threads);
    let take = |&thread: &usize| {
        let phase = &STATES[thread].phase;
        let taken = phase.compare_exchange(FREE, RUNNING, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    };
    let thread = threads.find(take).ok_or(SpawnError::NoneLeft)?;

    let address = (stack_top(thread, info.stack_bytes) as usize - size) & !(align - 1);
    let packet = ptr::with_exposed_provenance_mut::<Packet<F, T>>(address);
    let tcb = cap::Tcb::from_bits(slot::tcb(thread));
    let context = UserContext {
        rip: run::<F, T> as *const () as u64,
        // As after a call instruction: 8 below a multiple of 16.
        rsp: address as u64 - 8,
        rflags: RFLAGS,
        rdi: address as u64,
        rsi: thread as u64,
        ..UserContext::default()
    };
    // It may still be on the way to its end, on this stack.
    let started = tcb.suspend().and_then(|()| {
        let todo = ManuallyDrop::new(closure);
        // SAFETY: `init` has mapped the stack, the address is in it and aligned, and nobody uses
        // it: the thread is this function's, and does not run.
        unsafe { (&raw mut (*packet).todo).write(todo) };
        let started = tcb.write_registers(true, 0, REGISTERS, &context);
        if started.is_err() {
            // SAFETY: it was just written, and nobody else takes it.
            unsafe { ManuallyDrop::drop(&mut (*packet).todo) };
        }
        started
    });
    if let Err(error) = started {
        STATES[thread].phase.store(FREE, Ordering::Release);
        return Err(SpawnError::Kernel(error));
    }
    Ok(JoinHandle {
        thread,
        // SAFETY: the address is not 0.
        result: unsafe { NonNull::new_unchecked(packet.cast()) },
        owns: PhantomData,
    })
}

/// What a thread does from its first to its last instruction.
extern "C" fn run<F: FnOnce() -> T, T>(packet: *mut Packet<F, T>, thread: usize) -> ! {
    sel4::set_thread_word(thread_word::NUMBER, thread as u64);
    // SAFETY: whoever started the thread has put the closure there, and left it to the thread.
    let closure = unsafe { ManuallyDrop::take(&mut (*packet).todo) };
    let result = ManuallyDrop::new(closure());
    assert!(
        sel4::user_data() == ActiveSpace::OWN.word(),
        "a thread ended inside a VAS"
    );
    // SAFETY: the closure was taken out; until the phase changes the place is this thread's.
    unsafe { (&raw mut (*packet).result).write(result) };

    let state = &STATES[thread];
    // With a handle, the result is left to who has it; else nobody wants it.
    // Either it sees here who waits, or who waits sees that it has ended.
    let finished =
        state
            .phase
            .compare_exchange(RUNNING, FINISHED, Ordering::SeqCst, Ordering::Acquire);
    if finished.is_err() {
        // SAFETY: it was written above, and there is no handle to take it with.
        unsafe { ManuallyDrop::drop(&mut (*packet).result) };
        state.phase.store(FREE, Ordering::Release);
    } else if let Some(waiting) = state.waiting.swap(0, Ordering::SeqCst).checked_sub(1) {
        sel4::signal(cap::Notification::from_bits(slot::notification(waiting)));
    }
    // From now on another may start this thread anew, wherever it is.
    let _ = cap::Tcb::from_bits(slot::tcb(thread)).suspend();
    crate::process::fault()
}

impl<T> JoinHandle<T> {
    /// Waits until the thread has ended, and gives its result.
    ///
    /// # Errors
    /// [`JoinError::Itself`] for the calling thread. A thread that panics ends the process, so
    /// nobody is told.
    pub fn join(self) -> Result<T, JoinError> {
        let own = number();
        if own == self.thread {
            return Err(JoinError::Itself);
        }
        let state = &STATES[self.thread];
        state.waiting.store(own + 1, Ordering::SeqCst);
        while !self.is_finished() {
            // What comes from elsewhere only makes the thread look again.
            sel4::wait(cap::Notification::from_bits(slot::notification(own)));
        }
        // SAFETY: the thread has left it there, and the handle, the only one, is forgotten.
        let result = unsafe { self.result.read() };
        self.release();
        mem::forget(self);
        Ok(result)
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        STATES[self.thread].phase.load(Ordering::SeqCst) == FINISHED
    }

    /// The thread, which has ended, can be used again.
    fn release(&self) {
        let state = &STATES[self.thread];
        state.waiting.store(0, Ordering::Relaxed);
        state.phase.store(FREE, Ordering::Release);
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let phase = &STATES[self.thread].phase;
        let detached =
            phase.compare_exchange(RUNNING, DETACHED, Ordering::AcqRel, Ordering::Acquire);
        if detached.is_err() {
            // SAFETY: the thread has left its result there, and nobody has taken it.
            unsafe { self.result.drop_in_place() };
            self.release();
        }
    }
}
