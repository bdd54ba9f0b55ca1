// SPDX-License-Identifier: MIT OR Apache-2.0

//! What VASes and segments have in common: a name, an owner, permissions and handles.

use alloc::vec::Vec;

use protocol::message::{Command, Lifetime, ObjectStatistics, Principal};
use protocol::{Error, Kind, Limit, Mode, Name, Rights, limits};

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
    handles: Vec<Handle>,
}

/// Clients have copies of its cap.
struct Handle {
    rights: Rights,
    /// See [`Object::handle`].
    number: u8,
    cap: SlotRange,
    /// Who asked first.
    payer: Payer,
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
            Command::RevokeHandles => self.revoke_handles(resources, |_| true),
            Command::RevokeHandle(number) => {
                let named = |handle: &Handle| number != 0 && handle.number == number;
                if !self.handles.iter().any(named) {
                    return Err(Error::NotFound);
                }
                self.revoke_handles(resources, named);
            }
            Command::Evict => {}
        }
        Ok(())
    }

    /// These handles of it become empty wherever they are.
    fn revoke_handles<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        which: impl Fn(&Handle) -> bool,
    ) {
        for handle in self.handles.extract_if(.., |handle| which(handle)) {
            resources.delete_badged(handle.cap);
            resources.refund(handle.payer, Counted::Handles);
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
        Ok((rights, self.handle(resources, rights, 0)?))
    }

    /// The cap of the handle with these rights that all get who may have it, made if it is the
    /// first. 0 is the number of those that cannot be revoked by themselves.
    pub(super) fn handle<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        rights: Rights,
        number: u8,
    ) -> Result<Slot, Error> {
        let mut handles = self.handles.iter();
        if let Some(made) = handles.find(|made| (made.rights, made.number) == (rights, number)) {
            return Ok(made.cap.first());
        }
        resources.check(Counted::Handles)?;
        let cap = resources.make_badged(badge_of(self.kind, rights, self.key, number))?;
        let slot = cap.first();
        resources.charge(Counted::Handles);
        self.handles.push(Handle {
            rights,
            number,
            cap,
            payer: resources.payer(),
        });
        Ok(slot)
    }

    /// A number that no handle has.
    pub(super) fn free_number(&self) -> Result<u8, Error> {
        (1..=limits::REVOCABLE_HANDLES)
            .find(|number| self.handles.iter().all(|made| made.number != *number))
            .ok_or(Error::LimitReached(Limit::RevocableHandles))
    }

    /// The object dies, and its handles with it.
    pub(super) fn delete<K: Kernel>(self, resources: &mut Resources<K>) {
        // Badges of an object that is gone name nothing already.
        for handle in self.handles {
            resources.discard_badged(handle.cap);
            resources.refund(handle.payer, Counted::Handles);
        }
    }
}
