// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reports of faults: the address, the active VAS, the segment, and why (DESIGN 11).

use core::fmt;

use protocol::address_map::{IMAGE_BASE, PAGE_BYTES, PRIVATE};
use protocol::message::{Access, Explain, Explanation, FaultReason, PrivateExtent};
use protocol::process::ActiveSpace;
use sel4::Fault;

use crate::process::Process;
use crate::server::Server;

/// What happened, ready to be printed.
pub struct Report {
    /// What [`ExitStatus::Faulted`](protocol::process::ExitStatus::Faulted) says.
    pub address: u64,
    fault: Fault,
    kind: &'static str,
    cause: Cause,
}

enum Cause {
    Private(&'static str),
    Vas(Explanation),
    Unknown,
}

impl Report {
    /// Finds out why a process faulted. `active` is the space that the process says it is in.
    pub fn new(fault: Fault, process: &Process, active: ActiveSpace, server: &Server) -> Self {
        let mut report = Report::without_cause(fault);
        if let Fault::VmFault { address, .. } = fault {
            let write = fault.is_write();
            let private = PRIVATE.contains(&address);
            report.cause = match private_cause(process, address, write) {
                Some(cause) if private => Cause::Private(cause),
                _ => explain(process, active, address, write, server),
            };
        }
        report
    }

    /// Tells what happened and not why.
    pub fn without_cause(fault: Fault) -> Self {
        let (address, kind) = match fault {
            Fault::VmFault {
                address,
                instruction_fetch: true,
                ..
            } => (address, "fetch from"),
            Fault::VmFault { address, .. } if fault.is_write() => (address, "store to"),
            Fault::VmFault { address, .. } => (address, "load from"),
            _ => (fault.ip(), ""),
        };
        Report {
            address,
            fault,
            kind,
            cause: Cause::Unknown,
        }
    }
}

fn explain(
    process: &Process,
    active: ActiveSpace,
    address: u64,
    write: bool,
    server: &Server,
) -> Cause {
    let Some(session) = process.session else {
        return Cause::Unknown;
    };
    let question = Explain {
        session,
        active: active.attachment.map(|active| active.id),
        address,
        write,
    };
    server.explain(question).map_or(Cause::Unknown, Cause::Vas)
}

/// Why an access to private memory failed. `None` if it is there and allows the access: then
/// the active space is not what it was.
fn private_cause(process: &Process, address: u64, write: bool) -> Option<&'static str> {
    let end = |extent: &PrivateExtent| extent.base + u64::from(extent.pages) * PAGE_BYTES;
    let extents = &process.extents;
    if let Some(extent) = extents
        .iter()
        .find(|extent| (extent.base..end(extent)).contains(&address))
    {
        let read_only = write && extent.access == Access::ReadOnly;
        return read_only.then_some("private memory, read-only");
    }
    Some(if process.threads.guard(address) {
        "the guard page of the stack: stack overflow"
    } else if address < PAGE_BYTES {
        "the null page"
    } else if address < IMAGE_BASE {
        "below the program, never mapped"
    } else {
        "private addresses, not mapped"
    })
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::VmFault { ip, address, .. } => {
                write!(out, "{} {address:#x} at instruction {ip:#x}: ", self.kind)?;
            }
            Fault::UserException {
                ip, number, code, ..
            } => {
                return write!(
                    out,
                    "exception {number} (code {code:#x}) at instruction {ip:#x}"
                );
            }
            Fault::UnknownSyscall { ip, number, .. } => {
                return write!(out, "unknown system call {number} at instruction {ip:#x}");
            }
            Fault::CapFault { ip, address, .. } => {
                return write!(out, "no capability {address:#x} at instruction {ip:#x}");
            }
            fault @ Fault::NullFault => return write!(out, "{fault:?}"),
        }
        match &self.cause {
            Cause::Private(reason) => out.write_str(reason),
            Cause::Unknown => out.write_str("no explanation"),
            Cause::Vas(Explanation {
                vas,
                reason: reason @ (FaultReason::NoAttachment | FaultReason::AttachmentEnded(_)),
                ..
            }) => {
                if let Some(vas) = vas {
                    write!(out, "VAS {vas} was active: ")?;
                }
                write!(out, "{reason}")
            }
            Cause::Vas(Explanation {
                vas,
                segment,
                reason,
            }) => {
                match vas {
                    Some(vas) => write!(out, "VAS {vas} active")?,
                    None => out.write_str("no VAS active")?,
                }
                match (segment, reason) {
                    (Some(place), FaultReason::OtherVas) => {
                        write!(out, ", segment {} is in VAS {}", place.segment, place.vas)?;
                    }
                    (Some(place), _) => write!(out, ", segment {}", place.segment)?,
                    (None, _) => {}
                }
                write!(out, ": {reason}")
            }
        }
    }
}
