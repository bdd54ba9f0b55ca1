// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where it was asked for, and nowhere else.

use protocol::Error;

use super::{Asked, PlacementPolicy};

/// Takes the base as it is, and refuses to choose one.
#[derive(Clone, Copy, Debug)]
pub struct AsAsked;

impl PlacementPolicy for AsAsked {
    fn place(
        &self,
        asked: &Asked,
        _taken: &mut dyn Iterator<Item = (u64, u64)>,
    ) -> Result<u64, Error> {
        asked.base.ok_or(Error::BaseNeeded)
    }
}
