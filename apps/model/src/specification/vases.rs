// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on VASes.

use alloc::collections::BTreeMap;

use protocol::message::{
    Attached, Command, Granted, LockMode, Root, VasAttach, VasClone, VasCommand, VasCreate, VasCtl,
    VasDetach, VasEntry, VasFind, VasList, VasPage, VasRoot, VasSetRoot, VasStatistics,
};
use protocol::{AttachmentId, Error, Kind, Limit, Name, Rights, limits};

use super::{Asker, Attachment, Object, Refusal, Specification, Vas, numbers, require};
use crate::Number;
use crate::call::unspecified;
use crate::play::ALL;

impl Specification {
    fn vas_named(&self, name: &Name) -> Option<(Number, &Vas)> {
        let mut vases = self.vases.iter();
        let found = vases.find(|(_, vas)| vas.object.name == *name);
        found.map(|(&number, vas)| (number, vas))
    }

    pub(super) fn vas_create(
        &mut self,
        asker: &Asker<'_>,
        request: &VasCreate,
    ) -> Result<Granted, Refusal> {
        if self.vas_named(&request.name).is_some() {
            return Err(Error::NameExists.into());
        }
        let vas = Vas {
            object: Object::new(asker, &request.name, request.mode),
            segments: [].into(),
            roots: BTreeMap::new(),
            tlb_tag: false,
            // The policy of the systems here.
            lock_mode: LockMode::Cooperative,
        };
        self.vases.insert(asker.new, vas);
        self.grant(asker, Kind::Vas, asker.new, ALL);
        Ok(Granted { rights: ALL })
    }

    pub(super) fn vas_clone(
        &mut self,
        asker: &Asker<'_>,
        request: &VasClone,
    ) -> Result<Granted, Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Vas)?;
        require(rights, request.access.needs() | Rights::GRANT)?;
        let Vas {
            mut segments,
            roots,
            lock_mode,
            ..
        } = self.vases[&number].clone();
        for (_, access) in &mut segments {
            *access = request.access.min(*access);
        }
        let create = VasCreate {
            name: request.name.clone(),
            mode: request.mode,
        };
        let granted = self.vas_create(asker, &create)?;
        self.vases.entry(asker.new).and_modify(|vas| {
            vas.segments = segments;
            vas.roots = roots;
            vas.lock_mode = lock_mode;
        });
        Ok(granted)
    }

    pub(super) fn vas_find(
        &mut self,
        asker: &Asker<'_>,
        request: &VasFind,
    ) -> Result<Granted, Refusal> {
        let (number, vas) = self.vas_named(&request.name).ok_or(Error::NotFound)?;
        let rights = vas.object.find(asker.process)?;
        self.grant(asker, Kind::Vas, number, rights);
        Ok(Granted { rights })
    }

    pub(super) fn vas_attach(
        &mut self,
        asker: &Asker<'_>,
        request: &VasAttach,
    ) -> Result<Attached, Refusal> {
        let (vas, rights) = asker.object(self, 0, Kind::Vas)?;
        let (process, access) = (asker.process, request.access);
        require(rights, access.needs())?;
        if self.attachments.values().any(|attachment| {
            (attachment.process, attachment.vas, attachment.access) == (process, vas, access)
        }) {
            return Err(Error::AlreadyAttached.into());
        }
        let attachment = Attachment {
            process,
            vas,
            access,
            segments: [].into(),
        };
        self.attachments.insert(asker.new, attachment);
        self.past.push((process, asker.new));
        let attachment = AttachmentId(asker.new.into());
        Ok(Attached {
            attachment,
            lock_mode: self.vases[&vas].lock_mode,
        })
    }

    /// The attachment of this number, if the asker made it and it lasts.
    pub(super) fn own_attachment(
        &self,
        asker: &Asker<'_>,
        AttachmentId(number): AttachmentId,
    ) -> Result<Number, Refusal> {
        let number = number as Number;
        let attachment = self.attachments.get(&number);
        match attachment {
            Some(attachment) if attachment.process == asker.process => Ok(number),
            _ => Err(Error::StaleAttachment.into()),
        }
    }

    pub(super) fn vas_detach(
        &mut self,
        asker: &Asker<'_>,
        request: &VasDetach,
    ) -> Result<(), Refusal> {
        let number = self.own_attachment(asker, request.attachment)?;
        self.attachment_ends(number);
        Ok(())
    }

    pub(super) fn vas_delete(&mut self, asker: &Asker<'_>) -> Result<(), Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Vas)?;
        require(rights, Rights::CONTROL)?;
        let attachments = self.attached_to(number);
        if attachments > 0 {
            return Err(Error::InUse { attachments }.into());
        }
        self.vas_dies(number);
        Ok(())
    }

    pub(super) fn vas_list(&self, asker: &Asker<'_>, request: &VasList) -> VasPage {
        let seen = self.vases.iter().filter(|(_, vas)| {
            let after = request.after.as_ref();
            !vas.object.allowed(asker.process).is_empty()
                && after.is_none_or(|after| vas.object.name > *after)
        });
        let seen: BTreeMap<&Name, VasEntry> = seen
            .map(|(&number, vas)| {
                let entry = VasEntry {
                    name: vas.object.name.clone(),
                    owner: vas.object.owner,
                    mode: vas.object.mode,
                    segments: vas.segments.len() as u32,
                    attachments: self.attached_to(number),
                };
                (&vas.object.name, entry)
            })
            .collect();
        let entries = seen.into_values().take(limits::LIST_PAGE).collect();
        VasPage { entries }
    }

    pub(super) fn vas_stat(&self, asker: &Asker<'_>) -> Result<VasStatistics, Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Vas)?;
        require(rights, Rights::READ)?;
        let vas = &self.vases[&number];
        let sizes = vas.segments.iter();
        Ok(VasStatistics {
            object: vas.object.statistics(),
            segments: vas.segments.len() as u32,
            bytes: sizes.map(|(segment, _)| self.segments[segment].size).sum(),
            attachments: self.attached_to(number),
            table_bytes: 0,
            page_tables: unspecified(),
            lock_mode: vas.lock_mode,
            tlb_tag: vas.tlb_tag,
            roots: vas.roots.len() as u32,
        })
    }

    pub(super) fn vas_ctl(&mut self, asker: &Asker<'_>, request: &VasCtl) -> Result<(), Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Vas)?;
        require(rights, Rights::CONTROL)?;
        match &request.command {
            VasCommand::TlbTag(hint) => {
                let vas = self.vases.entry(number);
                vas.and_modify(|vas| vas.tlb_tag = *hint);
            }
            &VasCommand::LockMode(mode) => {
                let attachments = self.attached_to(number);
                if attachments > 0 {
                    return Err(Error::InUse { attachments }.into());
                }
                let vas = self.vases.entry(number);
                vas.and_modify(|vas| vas.lock_mode = mode);
            }
            &VasCommand::EvictAttachment(AttachmentId(evicted)) => {
                let evicted = evicted as Number;
                let attachment = self.attachments.get(&evicted);
                if attachment.is_none_or(|attachment| attachment.vas != number) {
                    return Err(Error::StaleAttachment.into());
                }
                self.attachment_ends(evicted);
            }
            VasCommand::Object(Command::Evict) => self.evict_from_vas(number),
            VasCommand::Object(command) => self.change(number, command)?,
        }
        Ok(())
    }

    fn evict_from_vas(&mut self, vas: Number) {
        for attachment in numbers(&self.attachments, |attachment| attachment.vas == vas) {
            self.attachment_ends(attachment);
        }
    }

    pub(super) fn vas_set_root(
        &mut self,
        asker: &Asker<'_>,
        request: &VasSetRoot,
    ) -> Result<(), Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Vas)?;
        require(rights, Rights::WRITE)?;
        let Some(Vas { roots, .. }) = self.vases.get_mut(&number) else {
            return Ok(());
        };
        let known = roots.contains_key(&request.name);
        match request.address {
            None if !known => return Err(Error::NotFound.into()),
            None => {
                roots.remove(&request.name);
            }
            Some(_) if !known && roots.len() == limits::ROOTS_PER_VAS => {
                return Err(Error::LimitReached(Limit::RootsPerVas).into());
            }
            Some(address) => {
                roots.insert(request.name.clone(), address);
            }
        }
        Ok(())
    }

    pub(super) fn vas_root(&self, asker: &Asker<'_>, request: &VasRoot) -> Result<Root, Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Vas)?;
        require(rights, Rights::READ)?;
        let address = self.vases[&number].roots.get(&request.name);
        let &address = address.ok_or(Error::NotFound)?;
        Ok(Root { address })
    }
}
