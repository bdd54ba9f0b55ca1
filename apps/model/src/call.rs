// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls and answers.

use alloc::vec::Vec;
use core::hash::Hasher;

use fnv::FnvHasher;
use protocol::message::{
    self, HandleStat, Restrict, SegAlloc, SegAt, SegAttach, SegAttachLocal, SegCopy, SegCtl,
    SegDetach, SegDetachLocal, SegFind, SegFree, SegGrow, SegList, SegStat, VasAttach, VasClone,
    VasCommand, VasCreate, VasCtl, VasDelete, VasDetach, VasFind, VasList, VasRoot, VasSetRoot,
    VasStat,
};
use protocol::{AttachmentId, Error, Name};
use serde::Serialize;

use crate::{Client, Number};

/// What a process does.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which process.
    pub process: usize,
    /// What it does.
    pub action: Action,
    /// The number of the handle or attachment that it gets, if it gets one.
    pub new: Number,
}

/// What a process can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Asks the service. Attachments in the request are [`Number`]s.
    Ask(Request, Vec<Number>),
    /// Switches into an attachment that it made, touches memory there, and switches back. If it
    /// may not it dies, and another process begins in its place.
    Touch(Number, Touch),
    /// Passes a copy of a handle to another process, which asks the service what it is.
    Pass(Number, usize),
    /// Ends, and another process begins in its place.
    Restart,
}

/// How memory is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Touch {
    /// Loads the word at an address.
    Load(u64),
    /// Stores the second at the first.
    Store(u64, u64),
    /// [`scan`]s memory.
    Scan {
        /// Where it begins.
        base: u64,
        /// Bytes: a multiple of `page`.
        size: u64,
        /// Bytes of a page.
        page: u64,
    },
}

/// A digest of the first and the last word of every page.
///
/// # Errors
/// That of `load`.
pub fn scan<E>(
    base: u64,
    size: u64,
    page: u64,
    mut load: impl FnMut(u64) -> Result<u64, E>,
) -> Result<u64, E> {
    let mut digest = FnvHasher::default();
    for address in (base..base + size).step_by(page as usize) {
        digest.write_u64(load(address)?);
        digest.write_u64(load(address + page - 8)?);
    }
    Ok(digest.finish())
}

/// What was answered.
pub type Answer = Result<Reply, Error>;

macro_rules! requests {
    ($($name:ident),* $(,)?) => {
        /// A request to the service.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Request { $($name($name),)* }

        /// What came of a call.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[allow(missing_docs)]
        pub enum Reply {
            $($name(<$name as message::Request>::Reply),)*
            /// The word that was loaded, or stored, or the digest of those that were scanned.
            Touched(u64),
            /// The process has died of it.
            Died,
            /// The process has ended.
            Restarted,
        }

        impl Request {
            pub(crate) fn ask(
                &self,
                client: &mut impl Client,
                process: usize,
                handles: &[Number],
                new: Number,
            ) -> Answer {
                match self {
                    $(Request::$name(request) => {
                        client.ask(process, request, handles, new).map(Reply::$name)
                    })*
                }
            }
        }

        $(impl From<$name> for Request {
            fn from(request: $name) -> Self {
                Request::$name(request)
            }
        })*
    };
}

requests! {
    VasCreate, VasFind, VasAttach, VasDetach, VasDelete, VasList, VasStat, VasCtl, VasClone,
    VasSetRoot, VasRoot, SegAlloc, SegFind, SegAt, SegAttach, SegDetach, SegFree, SegList,
    SegAttachLocal, SegDetachLocal, SegStat, SegCtl, SegCopy, SegGrow, Restrict, HandleStat,
}

impl Request {
    /// The attachment that it names.
    pub(crate) const fn attachment(&mut self) -> Option<&mut AttachmentId> {
        match self {
            Request::VasDetach(VasDetach { attachment })
            | Request::SegAt(SegAt { attachment, .. })
            | Request::SegAttachLocal(SegAttachLocal { attachment, .. })
            | Request::SegDetachLocal(SegDetachLocal { attachment })
            | Request::VasCtl(VasCtl {
                command: VasCommand::EvictAttachment(attachment),
            }) => Some(attachment),
            _ => None,
        }
    }
}

impl Reply {
    /// Without what the specification leaves to the server: how it keeps page tables.
    pub(crate) fn specified(mut self) -> Self {
        match &mut self {
            Reply::VasStat(statistics) => {
                statistics.table_bytes = 0;
                statistics.page_tables = unspecified();
            }
            Reply::SegStat(statistics) => statistics.table_bytes = 0,
            _ => {}
        }
        self
    }
}

/// In place of a policy's name.
pub(crate) fn unspecified() -> Name {
    name("unspecified")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("it is short and has no control characters")
}
