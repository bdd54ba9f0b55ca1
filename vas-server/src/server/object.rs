// SPDX-License-Identifier: MIT OR Apache-2.0

//! What VASes and segments have in common: a name, an owner, permissions and handles.

use alloc::vec::Vec;

use protocol::message::{Command, Lifetime, ObjectStatistics, Principal};
use protocol::{Error, Kind, Mode, Name, Rights};

use super::badge_of;
use crate::arena::Key;
use crate::kernel::{Kernel, Slot};
use crate::resources::{Counted, Payer, Resources};
use crate::slots::SlotRange;

/// A named object that clients hold handles of.
pub(super) struct Object {
    pub(super) name: Name,
    pub(super) owner: u32,
    pub(super) mode: Mode,
    pub(super) lifetime: Lifetime,
    /// The session that made it, as long as that lasts.
    pub(super) creator: Option<Key>,
    group: Option<u32>,
    kind: Kind,
    key: Key,
    /// Whose objects it counts among.
    pub(super) payer: Payer,
    /// One cap for each set of rights that was ever asked for, and who asked first; clients
    /// have copies.
    handles: Vec<(Rights, SlotRange, Payer)>,
}

impl Object {
    /// An object of this principal's, made by this session, without handles.
    pub(super) fn new(
        kind: Kind,
        key: Key,
        name: Name,
        mode: Mode,
        principal: &Principal,
        (creator, payer): (Key, Payer),
    ) -> Self {
        Object {
            name,
            owner: principal.user,
            mode,
            lifetime: Lifetime::Persistent,
            creator: Some(creator),
            group: principal.groups.first().copied(),
            kind,
            key,
            payer,
            handles: Vec::new(),
        }
    }

    /// What the mode bits allow, as in Unix: those of the owner, or else of the group, or
    /// else of all others. The owner may always delete, change permissions and pass
    /// handles on.
    pub(super) fn allowed(&self, principal: &Principal) -> Rights {
        let is_owner = principal.user == self.owner;
        let in_group = self
            .group
            .is_some_and(|group| principal.groups.contains(&group));
        let (shift, mut rights) = match (is_owner, in_group) {
            (true, _) => (6, Rights::CONTROL | Rights::GRANT),
            (false, true) => (3, Rights::empty()),
            (false, false) => (0, Rights::empty()),
        };
        let bits = self.mode.0 >> shift;
        rights.set(Rights::READ, bits & 4 != 0);
        rights.set(Rights::WRITE, bits & 2 != 0);
        rights.set(Rights::ATTACH, bits & 6 != 0);
        rights
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

    /// Changes it. Whose attachments end with [`Command::Evict`] is not known here.
    pub(super) fn change<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        command: Command,
    ) -> Result<(), Error> {
        match command {
            Command::Mode(mode) => self.mode = mode,
            Command::Owner { user, group } => (self.owner, self.group) = (user, group),
            Command::Lifetime(Lifetime::Creator) if self.creator.is_none() => {
                return Err(Error::CreatorEnded);
            }
            Command::Lifetime(lifetime) => self.lifetime = lifetime,
            Command::RevokeHandles => self.revoke_handles(resources),
            Command::Evict => {}
        }
        Ok(())
    }

    /// Every handle of it becomes empty wherever it is.
    fn revoke_handles<K: Kernel>(&mut self, resources: &mut Resources<K>) {
        for (_, cap, payer) in self.handles.drain(..) {
            resources.delete_badged(cap);
            resources.refund(payer, Counted::Handles);
        }
    }

    /// The cap of a handle with what the mode bits allow.
    pub(super) fn find<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        principal: &Principal,
    ) -> Result<(Rights, Slot), Error> {
        let rights = self.allowed(principal);
        if rights.is_empty() {
            let needs = Rights::READ | Rights::ATTACH;
            return Err(Error::PermissionDenied { needs });
        }
        Ok((rights, self.handle(resources, rights)?))
    }

    /// The cap of a handle with these rights, made if it is the first.
    pub(super) fn handle<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        rights: Rights,
    ) -> Result<Slot, Error> {
        if let Some((_, cap, _)) = self.handles.iter().find(|(made, ..)| *made == rights) {
            return Ok(cap.first());
        }
        resources.check(Counted::Handles)?;
        let cap = resources.make_badged(badge_of(self.kind, rights, self.key))?;
        let slot = cap.first();
        resources.charge(Counted::Handles);
        self.handles.push((rights, cap, resources.payer()));
        Ok(slot)
    }

    /// The object dies, and its handles with it.
    pub(super) fn delete<K: Kernel>(mut self, resources: &mut Resources<K>) {
        self.revoke_handles(resources);
    }
}
