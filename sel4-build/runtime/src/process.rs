// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a process knows of itself, and what it can ask of `init`.

use core::{fmt, ptr};

use protocol::Name;
use protocol::address_map::{PAGE_BYTES, START_INFO};
use protocol::process::{
    Ended, ExitStatus, InitError, InitOperation, ProcessId, ServerStartInfo, Spawn, StartInfo, slot,
};
use protocol::wire::{self, WORDS};
use sel4::{MessageInfo, cap};
use serde::{Deserialize, Serialize};

/// What a main function may return, and the exit code that it means.
pub trait Termination {
    /// Reports to the user what there is to report, and gives the exit code.
    fn report(self) -> i32;
}

impl Termination for () {
    fn report(self) -> i32 {
        0
    }
}

impl Termination for i32 {
    fn report(self) -> i32 {
        self
    }
}

/// An error is printed and exits with code 1.
impl<T: Termination, E: fmt::Display> Termination for Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                crate::println!("error: {error:#}");
                1
            }
        }
    }
}

/// What this process was started with.
///
/// # Panics
///
/// If there is no such information: in the root task and in the VAS server.
pub fn start_info() -> StartInfo {
    read_start_page().expect("the start page holds no start information")
}

/// A file of the image that the system description gives to this component.
pub fn file(name: &str) -> Option<&'static [u8]> {
    let info = start_info();
    let file = info.files.iter().find(|file| file.name.as_str() == name)?;
    if file.size == 0 {
        return Some(&[]);
    }
    let base = ptr::with_exposed_provenance(file.base as usize);
    // SAFETY: `init` has mapped the file there, read-only, for as long as the process lives, in
    // every space of it.
    Some(unsafe { core::slice::from_raw_parts(base, file.size as usize) })
}

/// What the VAS server was started with.
///
/// # Panics
///
/// If there is no such information: in any other component.
pub fn server_start_info() -> ServerStartInfo {
    read_start_page().expect("the start page holds no start information of the VAS server")
}

/// What `init` wrote for this process to read, if it is of this type.
pub(crate) fn read_start_page<T: for<'a> Deserialize<'a>>() -> Option<T> {
    // SAFETY: `init` maps this page, read-only, into every process before it starts.
    let page = unsafe { core::slice::from_raw_parts(START_INFO as *const u8, PAGE_BYTES as usize) };
    postcard::take_from_bytes(page).ok().map(|(info, _)| info)
}

/// Ends this process.
pub fn exit(code: i32) -> ! {
    end(&ExitStatus::Exited(code))
}

pub(crate) fn end(status: &ExitStatus) -> ! {
    let _: Result<(), InitError> = ask(InitOperation::Exit, status);
    fault()
}

/// Ends the thread the hard way, when there is no other.
pub(crate) fn fault() -> ! {
    // SAFETY: raises an exception, which stops the thread.
    unsafe { core::arch::asm!("ud2", options(noreturn, nostack)) }
}

/// Starts a component of the system description. If `arguments` is not empty, it replaces the
/// arguments of the description.
///
/// # Errors
///
/// Those of [`InitError`]; [`InitError::Malformed`] if the name or the arguments are too long.
pub fn spawn(component: &str, arguments: &str) -> Result<ProcessId, InitError> {
    let component = Name::new(component).map_err(|_| InitError::Malformed)?;
    let arguments = arguments.try_into().map_err(|_| InitError::Malformed)?;
    ask(
        InitOperation::Spawn,
        &Spawn {
            component,
            arguments,
        },
    )
}

/// Waits until a process that this one started has ended, and says how.
///
/// # Errors
///
/// [`InitError::NotFound`] if it is not a process that this one started, or is or was
/// waited for.
pub fn wait(process: ProcessId) -> Result<ExitStatus, InitError> {
    wait_for_report(process).map(|ended| ended.status)
}

/// As [`wait`], with the report if it faulted.
///
/// # Errors
///
/// As [`wait`].
pub fn wait_for_report(process: ProcessId) -> Result<Ended, InitError> {
    ask(InitOperation::Wait, &process)
}

/// Ends a process that this one started.
///
/// # Errors
///
/// [`InitError::NotFound`] if it is not a process that this one started.
pub fn kill(process: ProcessId) -> Result<(), InitError> {
    ask(InitOperation::Kill, &process)
}

/// Sends a request to `init` and waits for the answer.
fn ask<T, R>(operation: InitOperation, request: &T) -> Result<R, InitError>
where
    T: Serialize,
    R: for<'a> Deserialize<'a>,
{
    let mut words = [0; WORDS];
    let length = wire::encode(request, &mut words).map_err(|_| InitError::Malformed)?;
    let registers = sel4::write_message(&words[..length]);
    let info = MessageInfo::new(operation as u64, 0, 0, length as u64);
    let (info, registers) = sel4::call(cap::Endpoint::from_bits(slot::INIT), info, registers);

    if info.label() != 0 {
        return Err(InitError::from_label(info.label()).unwrap_or(InitError::Malformed));
    }
    let length = (info.length() as usize).min(WORDS);
    sel4::read_message(&mut words[..length], registers);
    wire::decode(&words[..length]).map_err(|_| InitError::Malformed)
}
