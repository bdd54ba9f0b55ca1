// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where it was asked for, or else in the first gap.

use protocol::Error;

use super::{Asked, PlacementPolicy};

/// Takes the base as it is; without one, the lowest where nothing is taken.
#[derive(Clone, Copy, Debug)]
pub struct ServerChooses;

impl PlacementPolicy for ServerChooses {
    fn place(
        &self,
        asked: &Asked,
        taken: &mut dyn Iterator<Item = (u64, u64)>,
    ) -> Result<u64, Error> {
        match asked.base {
            Some(base) => Ok(base),
            None => asked.first_gap(taken, |base| base),
        }
    }
}
