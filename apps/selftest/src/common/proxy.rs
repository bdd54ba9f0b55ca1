// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands to processes that do nothing but what they are told.

use model::{PROCESSES, Touch};
use protocol::AttachmentId;
use protocol::limits;
use protocol::process::slot;
use serde::{Deserialize, Serialize};

/// Words of the longest request to the service.
const REQUEST_WORDS: usize = 16;
/// Capabilities that go with a message at most.
const CAPS: usize = 3;

/// What a proxy is told. Slots are those of its own CNode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Send this to the VAS service. The reply is its reply.
    Ask {
        /// The operation.
        label: u64,
        /// The body.
        body: heapless::Vec<u64, REQUEST_WORDS>,
        /// Slots of the caps that go with it.
        handles: heapless::Vec<u64, CAPS>,
        /// Slot for the cap of the reply.
        receive: u64,
    },
    /// Switch, touch memory, switch back. The reply is what was touched, or the error of the
    /// switch.
    Touch {
        /// Slot of the root cap.
        root: u64,
        /// The attachment that it belongs to.
        attachment: AttachmentId,
        /// How.
        touch: Touch,
    },
    /// The same, and exit: nobody waits for a reply.
    TouchAndExit {
        /// Slot of the root cap.
        root: u64,
        /// The attachment that it belongs to.
        attachment: AttachmentId,
        /// How.
        touch: Touch,
    },
    /// Reply, and then receive a cap into this slot.
    Take(u64),
    /// Pass the cap in a slot to another proxy, which is told to take it.
    Give {
        /// The slot.
        handle: u64,
        /// Position among the endpoints of this proxy.
        endpoint: u64,
    },
}

/// The slot for what has this number.
///
/// # Panics
/// If there is none.
pub fn slot_of(number: model::Number) -> u64 {
    let slot = slot::FREE + u64::from(number);
    assert!(slot < 1 << protocol::process::CNODE_BITS, "too many steps");
    slot
}

/// Where a proxy finds the endpoint of another: its own is the first, those of the others follow
/// in turn.
pub const fn endpoint_of(from: usize, to: usize) -> u64 {
    ((PROCESSES + to - from) % PROCESSES) as u64
}

const _: () = assert!(PROCESSES <= limits::ENDPOINTS);
