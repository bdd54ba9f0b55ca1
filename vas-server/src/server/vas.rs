// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on VASes.

use alloc::vec::Vec;
use core::ops::Bound;

use protocol::message::{
    Attached, AttachmentEntry, AttachmentPage, Command, Departure, Granted as GrantedReply, Root,
    VasAttach, VasAttachments, VasClone, VasCommand, VasCreate, VasCtl, VasDetach, VasEntry,
    VasFind, VasList, VasPage, VasRoot, VasSetRoot, VasStatistics,
};
use protocol::{Access, AttachmentId, Error, Kind, Limit, LockMode, Mode, Name, Rights, limits};

use super::lock::VasLocks;
use super::steps::{Ending, Place, Work};
use super::{
    Attachment, Departed, Granted, Handles, Object, Roots, Segment, Server, Vas, attachment_id,
    attachment_key, next_key, require, table_bytes,
};
use crate::arena::Key;
use crate::kernel::Kernel;
use crate::policy::New;
use crate::resources::Counted;

impl<K: Kernel> Server<K> {
    pub(super) fn vas_create(&mut self, session: Key, request: VasCreate) -> Granted<GrantedReply> {
        let VasCreate { name, mode } = request;
        let key = self.make_vas(session, (&name, mode), Vec::new(), Vec::new(), None)?;
        self.publish_vas(key, name).inspect_err(|_| {
            self.endings.push_back(Ending::Vas(key));
        })
    }

    /// Makes a VAS like another, or goes on with that. The segments come to it one after the other.
    pub(super) fn vas_clone(
        &mut self,
        session: Key,
        request: VasClone,
        handles: Handles<'_>,
    ) -> Granted<GrantedReply> {
        let (from, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        let access = request.access;
        // Whoever is shut out of this VAS goes on with the clone: that is passing it on.
        require(rights, access.needs() | Rights::GRANT)?;
        let name = request.name.clone();
        let (key, mut after) = match self.work.take() {
            Some(Work::Clone(begun, key, after)) if begun == request => (key, after),
            other => {
                self.give_up(other);
                let stale = Error::StaleHandle { position: 0 };
                let vas = self.vases.get(from).ok_or(stale)?;
                let narrowed = |&(segment, most): &(Key, Access)| (segment, most.min(access));
                let segments = vas.segments.iter().map(narrowed).collect();
                let roots = vas.roots.clone();
                let lock_mode = Some(vas.locks.mode);
                let named = (&name, request.mode);
                let key = self.make_vas(session, named, segments, roots, lock_mode)?;
                (key, None)
            }
        };
        let entered = self.enter_all(key, &mut after);
        let published = entered.and_then(|()| self.publish_vas(key, name));
        published.inspect_err(|_| self.work = Some(Work::Clone(request, key, after)))
    }

    /// Makes the segments visible in a VAS whose list has them, those behind this one.
    fn enter_all(&mut self, vas: Key, after: &mut Option<Key>) -> Result<(), Error> {
        let place = Place::Vas(vas);
        while let Some(list) = self.segments_of(place)
            && let Some(&(key, access)) = list.iter().find(|&&(key, _)| Some(key) > *after)
        {
            self.resources.step(1)?;
            self.enter(place, key, access)?;
            if let Some(segment) = self.segments.get_mut(key) {
                segment.attached = true;
            }
            *after = Some(key);
        }
        Ok(())
    }

    /// Makes a VAS without a name, with these segments in its list.
    fn make_vas(
        &mut self,
        session: Key,
        (name, mode): (&Name, Mode),
        segments: Vec<(Key, Access)>,
        roots: Vec<(Name, u64)>,
        lock_mode: Option<LockMode>,
    ) -> Result<Key, Error> {
        let principal = &self.session(session)?.principal;
        if self.vas_names.contains_key(name) {
            return Err(Error::NameExists);
        }
        let key = next_key(&self.vases, Limit::Vases)?;
        self.resources.check(Counted::Vases)?;
        let made_by = (session, self.resources.payer());
        let new = New {
            kind: Kind::Vas,
            user: principal.user,
            mode,
        };
        let mut object = Object::new(Kind::Vas, key, name.clone(), mode, principal, made_by);
        object.lifetime = self.policies.lifetime.answer.lifetime(new);
        let tables = (self.policies.page_tables.answer.make)(&mut self.resources)?;
        for (segment, _) in &segments {
            if let Some(segment) = self.segments.get_mut(*segment) {
                segment.vases += 1;
            }
        }
        let vas = Vas {
            object,
            segments,
            attachments: 0,
            attached: false,
            tables,
            tlb_tag: self.policies.tlb_tags.answer.tagged(None),
            roots,
            left: Departed::new(),
            locks: VasLocks::new(
                lock_mode.unwrap_or_else(|| self.policies.locks.answer.lock_mode(new)),
            ),
        };
        if let Err(vas) = self.vases.insert(vas) {
            self.release_vas(vas);
            return Err(Error::LimitReached(Limit::Vases));
        }
        self.resources.charge(Counted::Vases);
        Ok(key)
    }

    /// Gives a VAS its name, and its first handle to who asked.
    fn publish_vas(&mut self, key: Key, name: Name) -> Granted<GrantedReply> {
        if self.vas_names.contains_key(&name) {
            return Err(Error::NameExists);
        }
        let rights = Rights::all();
        let vas = self.vases.get_mut(key).ok_or(Error::NotFound)?;
        let handle = vas.object.handle(&mut self.resources, rights, 0)?;
        self.vas_names.insert(name, key);
        Ok((GrantedReply { rights }, Some(handle)))
    }

    pub(super) fn vas_find(&mut self, session: Key, request: &VasFind) -> Granted<GrantedReply> {
        let &key = self.vas_names.get(&request.name).ok_or(Error::NotFound)?;
        let session = self.sessions.get(session).ok_or(Error::UnknownOperation)?;
        let vas = self.vases.get_mut(key).ok_or(Error::NotFound)?;
        let (rights, handle) = vas.object.find(&mut self.resources, &session.principal)?;
        Ok((GrantedReply { rights }, Some(handle)))
    }

    pub(super) fn vas_attach(
        &mut self,
        session: Key,
        request: VasAttach,
        handles: Handles<'_>,
    ) -> Granted<Attached> {
        let (vas, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        let access = request.access;
        require(rights, access.needs())?;
        let (key, mut from) = match self.work.take() {
            Some(Work::Attach(key, from)) if self.attaches(key, (session, vas, access)) => {
                (key, from)
            }
            other => {
                self.give_up(other);
                (self.begin_attachment(session, vas, access)?, None)
            }
        };
        let attached = self.attach_on(key, &mut from);
        attached.inspect_err(|_| self.work = Some(Work::Attach(key, from)))
    }

    /// Whether an attachment, complete or not, is this session's to a VAS for this access.
    fn attaches(&self, key: Key, (session, vas, access): (Key, Key, Access)) -> bool {
        self.attachments
            .get(key)
            .is_some_and(|other| (other.session, other.vas, other.access) == (session, vas, access))
    }

    /// Makes an attachment that nobody can use yet.
    fn begin_attachment(
        &mut self,
        session: Key,
        vas_key: Key,
        access: Access,
    ) -> Result<Key, Error> {
        let as_asked = (session, vas_key, access);
        let is_there = |(other, _)| self.attaches(other, as_asked);
        if self.attachments.iter().any(is_there) {
            return Err(Error::AlreadyAttached);
        }
        let full = Error::LimitReached(Limit::Attachments);
        next_key(&self.attachments, Limit::Attachments)?;
        self.resources.check(Counted::Attachments)?;
        let stale = Error::StaleHandle { position: 0 };
        let vas = self.vases.get_mut(vas_key).ok_or(stale)?;
        let attachment = Attachment {
            session,
            payer: self.resources.payer(),
            vas: vas_key,
            access,
            roots: None,
            segments: Vec::new(),
            left: Departed::new(),
            waiting: None,
            admitted: false,
        };
        let key = self.attachments.insert(attachment).map_err(|_| full)?;
        vas.attachments += 1;
        self.resources.charge(Counted::Attachments);
        Ok(key)
    }

    /// Goes on with making an attachment. It has the segments before `from`.
    fn attach_on(&mut self, key: Key, from: &mut Option<Key>) -> Granted<Attached> {
        let stale = Error::StaleAttachment;
        let attachment = self.attachments.get_mut(key).ok_or(stale.clone())?;
        let vas = self.vases.get_mut(attachment.vas).ok_or(stale.clone())?;
        let session = self.sessions.get(attachment.session).ok_or(stale)?;
        let private = session.private_memory(self.policies.page_tables.answer.private);
        let first = vas
            .segments
            .partition_point(|&(segment, _)| Some(segment) < *from);
        let segments = vas.segments.iter().skip(first);
        let segments = segments
            .filter_map(|&(key, access)| Some(self.segments.get(key)?.mappings_in(key, access)))
            .flatten()
            .inspect(|segment| *from = Some(segment.piece.0));
        let mut segments = segments.chain(vas.lock_pages(&self.segments));
        let resources = &mut self.resources;
        let access = attachment.access;
        let original = vas
            .tables
            .attach(resources, key, access, private, &mut segments)?;
        let lock_mode = vas.locks.mode;
        let shown = match lock_mode {
            LockMode::Enforced => resources.allocate_slots(1),
            _ => resources.copy_switch_only(original),
        }?;
        let cap = (lock_mode != LockMode::Enforced).then_some(shown.first());
        attachment.roots = Some(Roots { shown, original });
        vas.attached = true;
        self.tell_locking(key);
        let attached = Attached {
            attachment: attachment_id(key),
            lock_mode,
        };
        Ok((attached, cap))
    }

    pub(super) fn vas_detach(&mut self, session: Key, request: VasDetach) -> Granted<()> {
        let key = self
            .attachment_of(session, request.attachment)
            .ok_or(Error::StaleAttachment)?;
        self.release_attachment(key, Departure::Detached);
        Ok(((), None))
    }

    pub(super) fn vas_delete(&mut self, handles: Handles<'_>) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        require(rights, Rights::CONTROL)?;
        let attachments = self.vases.get(key).map_or(0, |vas| vas.attachments);
        if attachments > 0 {
            return Err(Error::InUse { attachments });
        }
        self.remove_vas(key)?;
        Ok(((), None))
    }

    pub(super) fn vas_list(&self, session: Key, request: VasList) -> Granted<VasPage> {
        let principal = &self.session(session)?.principal;
        let after = request.after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self
            .vas_names
            .range((after, Bound::Unbounded))
            .filter_map(|(_, &key)| self.vases.get(key))
            .filter(|vas| !vas.object.allowed(principal).is_empty())
            .map(|vas| VasEntry {
                name: vas.object.name.clone(),
                owner: vas.object.owner,
                mode: vas.object.mode,
                segments: vas.segments.len() as u32,
                attachments: vas.attachments,
            })
            .take(limits::LIST_PAGE)
            .collect();
        Ok((VasPage { entries }, None))
    }

    pub(super) fn vas_stat(&self, handles: Handles<'_>) -> Granted<VasStatistics> {
        let (key, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        require(rights, Rights::READ)?;
        let vas = self
            .vases
            .get(key)
            .ok_or(Error::StaleHandle { position: 0 })?;
        let sizes = vas
            .segments
            .iter()
            .filter_map(|&(segment, _)| self.segments.get(segment))
            .map(Segment::size);
        let statistics = VasStatistics {
            object: vas.object.statistics(),
            segments: vas.segments.len() as u32,
            bytes: sizes.sum(),
            attachments: vas.attachments,
            table_bytes: table_bytes(vas.tables.tables()),
            page_tables: self.policies.page_tables.name.clone(),
            tlb_tag: vas.tlb_tag,
            lock_mode: vas.locks.mode,
            roots: vas.roots.len() as u32,
        };
        Ok((statistics, None))
    }

    pub(super) fn vas_attachments(
        &self,
        request: &VasAttachments,
        handles: Handles<'_>,
    ) -> Granted<AttachmentPage> {
        let (key, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        require(rights, Rights::CONTROL)?;
        let after = request.after.and_then(attachment_key);
        let entries = self
            .attachments
            .iter()
            .filter(|(other, _)| after.is_none_or(|after| other.index > after.index))
            .filter(|(_, attachment)| attachment.vas == key)
            .filter_map(|(attachment_key, attachment)| {
                Some(AttachmentEntry {
                    attachment: attachment_id(attachment_key),
                    user: self.sessions.get(attachment.session)?.principal.user,
                    access: attachment.access,
                })
            })
            .take(limits::LIST_PAGE)
            .collect();
        Ok((AttachmentPage { entries }, None))
    }

    pub(super) fn vas_ctl(&mut self, request: VasCtl, handles: Handles<'_>) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        require(rights, Rights::CONTROL)?;
        let stale = Error::StaleHandle { position: 0 };
        let vas = self.vases.get_mut(key).ok_or(stale)?;
        match request.command {
            VasCommand::TlbTag(hint) => {
                vas.tlb_tag = self.policies.tlb_tags.answer.tagged(Some(hint));
            }
            VasCommand::EvictAttachment(id) => {
                let attachment = attachment_key(id).filter(|&attachment| {
                    let attachment = self.attachments.get(attachment);
                    attachment.is_some_and(|attachment| attachment.vas == key)
                });
                let attachment = attachment.ok_or(Error::StaleAttachment)?;
                self.release_attachment(attachment, Departure::Evicted);
            }
            VasCommand::LockMode(mode) => self.set_lock_mode(key, mode)?,
            VasCommand::Object(Command::Evict) => self.evict_from_vas(key)?,
            VasCommand::Object(command) => vas.object.change(&mut self.resources, command)?,
        }
        Ok(((), None))
    }

    pub(super) fn vas_set_root(
        &mut self,
        request: VasSetRoot,
        handles: Handles<'_>,
    ) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        require(rights, Rights::WRITE)?;
        let stale = Error::StaleHandle { position: 0 };
        let roots = &mut self.vases.get_mut(key).ok_or(stale)?.roots;
        let VasSetRoot { name, address } = request;
        let place = roots.iter().position(|(other, _)| *other == name);
        match (place, address) {
            (Some(place), None) => {
                roots.swap_remove(place);
            }
            (None, None) => return Err(Error::NotFound),
            (None, Some(_)) if roots.len() >= limits::ROOTS_PER_VAS => {
                return Err(Error::LimitReached(Limit::RootsPerVas));
            }
            (None, Some(address)) => roots.push((name, address)),
            (Some(place), Some(address)) => {
                if let Some(root) = roots.get_mut(place) {
                    root.1 = address;
                }
            }
        }
        Ok(((), None))
    }

    pub(super) fn vas_root(&self, request: &VasRoot, handles: Handles<'_>) -> Granted<Root> {
        let (key, rights) = handles.get(0, Kind::Vas, &self.vases)?;
        require(rights, Rights::READ)?;
        let stale = Error::StaleHandle { position: 0 };
        let vas = self.vases.get(key).ok_or(stale)?;
        let mut roots = vas.roots.iter();
        let root = roots.find(|(name, _)| *name == request.name);
        let &(_, address) = root.ok_or(Error::NotFound)?;
        Ok((Root { address }, None))
    }

    /// The attachment of this number, if it is complete and the session's.
    pub(super) fn attachment_of(&self, session: Key, id: AttachmentId) -> Option<Key> {
        let key = attachment_key(id)?;
        let attachment = self.attachments.get(key)?;
        (attachment.session == session && attachment.roots.is_some()).then_some(key)
    }
}
