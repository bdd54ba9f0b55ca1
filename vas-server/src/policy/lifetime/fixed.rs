// SPDX-License-Identifier: MIT OR Apache-2.0

//! Always the same lifetime, whatever is made.

use protocol::Lifetime;

use super::LifetimePolicy;
use crate::policy::New;

impl LifetimePolicy for Lifetime {
    fn lifetime(&self, _new: New) -> Lifetime {
        *self
    }
}
