// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long does a new VAS or segment live, until `vas_ctl` or `seg_ctl` says otherwise?

mod fixed;

use protocol::Lifetime;

use super::New;

/// Answers how long what is made lives.
pub trait LifetimePolicy: Sync {
    /// The lifetime that it is made with.
    fn lifetime(&self, new: New) -> Lifetime;
}

/// The answers by name.
pub const POLICIES: [(&str, &dyn LifetimePolicy); 3] = [
    ("persistent", &Lifetime::Persistent),
    ("creator", &Lifetime::Creator),
    ("last-attacher", &Lifetime::LastAttacher),
];
