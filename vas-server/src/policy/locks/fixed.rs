// SPDX-License-Identifier: MIT OR Apache-2.0

//! Always the same lock mode, whoever makes the VAS.

use protocol::message::LockMode;

use super::LocksPolicy;
use crate::policy::New;

impl LocksPolicy for LockMode {
    fn lock_mode(&self, _new: New) -> LockMode {
        *self
    }
}
