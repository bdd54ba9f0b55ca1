// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who pays for what.
//!
//! A user with a quota has an account with memory of its own, set aside when the server
//! starts, so neither its amount nor how it is divided depends on anybody else. All other
//! users share the rest. Whoever asks pays, and what was paid for goes back to who paid,
//! whoever takes it away.

use protocol::message::{Counts, QuotaStatistics};
use protocol::{Error, Limit, limits};

use crate::untyped::Untypeds;

/// Names an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer(pub(super) usize);

impl Payer {
    /// The account that all users without a quota share.
    pub const REST: Payer = Payer(0);
}

/// What is counted for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// VASes.
    Vases,
    /// Segments.
    Segments,
    /// Attachments of processes to VASes.
    Attachments,
    /// Handles.
    Handles,
}

impl Counted {
    const fn limit(self) -> Limit {
        match self {
            Counted::Vases => Limit::Vases,
            Counted::Segments => Limit::Segments,
            Counted::Attachments => Limit::Attachments,
            Counted::Handles => Limit::Handles,
        }
    }

    const fn of(self, counts: &mut Counts) -> &mut u32 {
        match self {
            Counted::Vases => &mut counts.vases,
            Counted::Segments => &mut counts.segments,
            Counted::Attachments => &mut counts.attachments,
            Counted::Handles => &mut counts.handles,
        }
    }

    const ALL: [Counted; 4] = [
        Counted::Vases,
        Counted::Segments,
        Counted::Attachments,
        Counted::Handles,
    ];
}

/// What one user, or all without a quota, may have, and has.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: Option<u32>,
    pub(super) untypeds: Untypeds,
    /// Bytes of `untypeds` that are set aside for other accounts.
    pub(super) reserved: u64,
    most: Counts,
    used: Counts,
}

impl Account {
    /// The one of all users without a quota, from which others are taken.
    pub(super) fn rest(untypeds: Untypeds) -> Self {
        Account {
            user: None,
            untypeds,
            reserved: 0,
            most: Counts {
                vases: limits::VASES as u32,
                segments: limits::SEGMENTS as u32,
                attachments: limits::ATTACHMENTS as u32,
                handles: limits::HANDLES as u32,
            },
            used: Counts::default(),
        }
    }

    /// The one of a user.
    pub(super) fn new(user: u32, untypeds: Untypeds, most: Counts) -> Self {
        Account {
            user: Some(user),
            untypeds,
            reserved: 0,
            most,
            used: Counts::default(),
        }
    }

    /// Gives some of what it may have away.
    ///
    /// # Errors
    /// [`Error::LimitReached`] if it has not so much.
    pub(super) fn give(&mut self, mut counts: Counts) -> Result<(), Error> {
        for counted in Counted::ALL {
            let most = counted.of(&mut self.most);
            *most = most
                .checked_sub(*counted.of(&mut counts))
                .ok_or(Error::LimitReached(counted.limit()))?;
        }
        Ok(())
    }

    /// Whether it may have one more.
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub(super) fn check(&self, counted: Counted) -> Result<(), Error> {
        let (mut used, mut most) = (self.used, self.most);
        if counted.of(&mut used) < counted.of(&mut most) {
            Ok(())
        } else {
            Err(Error::LimitReached(counted.limit()))
        }
    }

    /// It has one more.
    pub(super) const fn charge(&mut self, counted: Counted) {
        *counted.of(&mut self.used) += 1;
    }

    /// It has one less.
    pub(super) const fn refund(&mut self, counted: Counted) {
        *counted.of(&mut self.used) -= 1;
    }

    pub(super) const fn statistics(&self) -> QuotaStatistics {
        QuotaStatistics {
            user: self.user,
            memory_total: self.untypeds.total() - self.reserved,
            memory_free: self.untypeds.free_bytes(),
            most: self.most,
            used: self.used,
        }
    }
}
