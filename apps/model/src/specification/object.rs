// SPDX-License-Identifier: MIT OR Apache-2.0

//! Names, owners, mode bits and lifetimes.

use protocol::message::{Lifetime, ObjectStatistics};
use protocol::{Error, Mode, Name, Rights};

use super::{Asker, Object, Refusal};
use crate::PRINCIPALS;

impl Object {
    pub(super) fn new(asker: &Asker<'_>, name: &Name, mode: Mode) -> Self {
        let (user, groups) = PRINCIPALS[asker.process];
        Object {
            name: name.clone(),
            owner: user,
            group: groups.first().copied(),
            mode,
            lifetime: Lifetime::Persistent,
            creator: Some(asker.process),
            revocable: [].into(),
        }
    }

    /// What a process may do that knows no more than the name.
    pub(super) fn allowed(&self, process: usize) -> Rights {
        let (user, groups) = PRINCIPALS[process];
        let Mode(mode) = self.mode;
        let (digit, mut rights) = if user == self.owner {
            (mode >> 6, Rights::CONTROL | Rights::GRANT)
        } else if self.group.is_some_and(|group| groups.contains(&group)) {
            (mode >> 3, Rights::empty())
        } else {
            (mode, Rights::empty())
        };
        if digit & 4 != 0 {
            rights |= Rights::READ | Rights::ATTACH;
        }
        if digit & 2 != 0 {
            rights |= Rights::WRITE | Rights::ATTACH;
        }
        rights
    }

    /// The rights of a handle that is found by name.
    pub(super) fn find(&self, process: usize) -> Result<Rights, Refusal> {
        let rights = self.allowed(process);
        if rights.is_empty() {
            let needs = Rights::READ | Rights::ATTACH;
            return Err(Error::PermissionDenied { needs }.into());
        }
        Ok(rights)
    }

    pub(super) fn statistics(&self) -> ObjectStatistics {
        ObjectStatistics {
            name: self.name.clone(),
            owner: self.owner,
            group: self.group,
            mode: self.mode,
            lifetime: self.lifetime,
        }
    }

    /// The process whose user owns it, and its name.
    pub(super) fn owner_and_name(&self) -> (usize, Name) {
        let owner = PRINCIPALS.iter().position(|&(user, _)| user == self.owner);
        let owner = owner.expect("calls give objects only to users that there are");
        (owner, self.name.clone())
    }
}
