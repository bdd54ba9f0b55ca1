// SPDX-License-Identifier: MIT OR Apache-2.0

//! Locks of segments: the arbiter, and what clients are shown of locks.
//!
//! See [`protocol::lock`] for what is done without the server. An attachment takes the locks of
//! its VAS in order of the segments' indexes, the same for all VASes, and the thread that waits
//! has no others; so there is no cycle. Other threads of the process may hold the locks of its
//! other attachments meanwhile; one that makes itself wait for those stays where it is. Who waits for a lock is let in by the order in which it asked.
//!
//! What is remembered of one that waits lies in its attachment, and it takes one slot.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use protocol::address_map::{LOCK_SET, LOCKS, PAGE_BYTES, SERVER_LOCK_SETS, SERVER_LOCKS};
use protocol::lock::Lock;
use protocol::message::{Locked, VasLock, VasSetConsistent, VasUnlock, Wait};
use protocol::wire::{self, WORDS};
use protocol::{Access, AttachmentId, Error, LockMode, PageSize};

use super::lifetime::keys_where;
use super::{Attachment, Granted, Segment, Server, Vas, attachment_id};
use crate::arena::{Arena, Key};
use crate::kernel::{Kernel, Slot};
use crate::policy::page_tables::{Mapping, SegmentMapping};
use crate::resources::OwnPage;
use crate::slots::SlotRange;

/// How a VAS's locks are taken, and what its attachments see of them.
pub(super) struct VasLocks {
    pub(super) mode: LockMode,
    /// The page of the lock set. There is none unless the mode is cooperative.
    set: Option<OwnPage>,
    /// Indexes of segments whose locks all attachments see, in order.
    shown: Vec<u16>,
    /// Those that were shown, and are being taken away.
    hiding: Vec<u16>,
    /// Indexes of segments that are gone, in the place of whose locks the spare page is mapped as
    /// long as anybody is attached: a thread that has read the set before may still look there.
    spares: Vec<u16>,
}

impl VasLocks {
    pub(super) const fn new(mode: LockMode) -> Self {
        VasLocks {
            mode,
            set: None,
            shown: Vec::new(),
            hiding: Vec::new(),
            spares: Vec::new(),
        }
    }
}

/// An attachment that waits for the locks of its VAS.
pub(super) struct Waiting {
    /// The segment whose lock it needs next.
    at: Key,
    /// Who has the lower one is let in first.
    ticket: u64,
    /// The right to answer; none while the request is handled.
    caller: Option<SlotRange>,
}

/// The pages of locks are entered as pieces of segments that have so many.
const LOCK_PIECE: u16 = u16::MAX;
const SET_PIECE: u16 = LOCK_PIECE - 1;

fn page(
    index: u16,
    piece: u16,
    base: u64,
    frames: Slot,
    access: Access,
) -> SegmentMapping<'static> {
    // By index alone, so that a lock and the spare page in its place have the same name.
    let generation = 0;
    SegmentMapping {
        piece: (Key { index, generation }, piece),
        mapping: Mapping {
            base,
            pages: 1,
            page_size: PageSize::Small,
            frames,
            access,
        },
        own_tables: None,
    }
}

fn lock_page(index: u16, frame: Slot) -> SegmentMapping<'static> {
    let base = LOCKS + u64::from(index) * PAGE_BYTES;
    page(index, LOCK_PIECE, base, frame, Access::ReadWrite)
}

fn set_page(frame: Slot) -> SegmentMapping<'static> {
    page(0, SET_PIECE, LOCK_SET, frame, Access::ReadOnly)
}

/// Takes an index out of a list; answers whether it was there.
fn take(indexes: &mut Vec<u16>, index: u16) -> bool {
    let position = indexes.iter().position(|&other| other == index);
    position.is_some_and(|position| {
        indexes.remove(position);
        true
    })
}

impl<K> Vas<K> {
    /// Its lockable segments in order of index, with the access that it has them with. Where
    /// clients take locks themselves, those that they see.
    fn lockable(&self, segments: &Arena<Segment>) -> Vec<(Key, Access)> {
        let cooperative = self.locks.mode == LockMode::Cooperative;
        let mut lockable = self.segments.clone();
        lockable.retain(|&(key, _)| {
            let has_lock = segments.get(key).is_some_and(|one| one.lock.is_some());
            has_lock && (!cooperative || self.locks.shown.binary_search(&key.index).is_ok())
        });
        lockable
    }

    /// Whether clients must take these locks themselves.
    fn must_lock(&self, lockable: &[(Key, Access)]) -> bool {
        self.locks.mode == LockMode::Cooperative && !lockable.is_empty()
    }

    /// What an attachment to it has besides the segments.
    pub(super) fn lock_pages<'a>(&self, segments: &Arena<Segment>) -> Vec<SegmentMapping<'a>> {
        let Some(set) = &self.locks.set else {
            return Vec::new();
        };
        let lockable = self.lockable(segments).into_iter();
        let locks = lockable.filter_map(|(key, _)| {
            let page = segments.get(key)?.lock.as_ref()?;
            Some(lock_page(key.index, page.frame()))
        });
        locks.chain([set_page(set.frame())]).collect()
    }
}

impl<K: Kernel> Server<K> {
    /// Makes the lock of a segment.
    pub(super) fn make_lock(&mut self, key: Key) -> Result<OwnPage, Error> {
        let address = SERVER_LOCKS + u64::from(key.index) * PAGE_BYTES;
        self.resources.make_own_page(address)
    }

    // What is asked for.

    pub(super) fn vas_lock(&mut self, session: Key, request: VasLock) -> Granted<Locked> {
        let key = self.attachment_named(session, request.attachment)?;
        if self.is_waiting(key) {
            return Err(Error::Locked);
        }
        if self.next_lock(key).is_none() {
            // It has them, or there are none.
            return self.admit(key);
        }
        self.give_back(key);
        if let Some(at) = self.next_lock(key) {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            if let Some(attachment) = self.attachments.get_mut(key) {
                let caller = None;
                attachment.waiting = Some(Waiting { at, ticket, caller });
                self.waiting += 1;
            }
            self.let_in(Vec::from([at]));
            if self.is_waiting(key)
                && let Err(error) = self.keep_waiting(key, request.wait)
            {
                self.stop_waiting(key);
                self.give_back(key);
                return Err(error);
            }
        }
        if self.is_waiting(key) {
            self.answers_later = true;
            return Ok((
                Locked {
                    inconsistent: false,
                },
                None,
            ));
        }
        match self.admit(key) {
            Ok(granted) => Ok(granted),
            Err(error) => {
                self.give_back(key);
                Err(error)
            }
        }
    }

    pub(super) fn vas_unlock(&mut self, session: Key, request: VasUnlock) -> Granted<()> {
        let key = self.attachment_named(session, request.attachment)?;
        if self.is_waiting(key) {
            return Err(Error::Locked);
        }
        self.give_back(key);
        Ok(((), None))
    }

    pub(super) fn vas_set_consistent(
        &mut self,
        session: Key,
        request: VasSetConsistent,
    ) -> Granted<()> {
        let key = self.attachment_named(session, request.attachment)?;
        for (segment, _) in self.locks_of(key) {
            let lock = self.lock(segment);
            if lock.is_held(key.index, Access::ReadWrite) {
                lock.set_consistent();
            }
        }
        Ok(((), None))
    }

    /// Sets how the locks of a VAS are taken, to which nobody is attached.
    pub(super) fn set_lock_mode(&mut self, key: Key, mode: LockMode) -> Result<(), Error> {
        let stale = Error::StaleHandle { position: 0 };
        let vas = self.vases.get(key).ok_or(stale.clone())?;
        let attachments = vas.attachments;
        if attachments > 0 {
            return Err(Error::InUse { attachments });
        }
        if mode == LockMode::Cooperative {
            let segments: Vec<Key> = vas.segments.iter().map(|&(segment, _)| segment).collect();
            let mut segments = segments.into_iter();
            let shown = segments.try_for_each(|segment| self.enter_lock(key, segment));
            if let Err(error) = shown {
                // What was shown stays for the next step; there is none after other errors.
                if error != Error::Again {
                    self.hide_all_locks(key)?;
                }
                return Err(error);
            }
        } else {
            self.hide_all_locks(key)?;
        }
        let vas = self.vases.get_mut(key).ok_or(stale)?;
        vas.locks.mode = mode;
        self.locks_have_changed(key);
        Ok(())
    }

    // What clients see of locks.

    /// Shows the attachments of a VAS that takes locks cooperatively the lock of a segment, if
    /// it has one.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do. After any other, it is to be hidden.
    pub(super) fn show_lock(&mut self, vas_key: Key, key: Key) -> Result<(), Error> {
        let vas = self.vases.get(vas_key);
        if vas.is_none_or(|vas| vas.locks.mode != LockMode::Cooperative) {
            return Ok(());
        }
        self.enter_lock(vas_key, key)
    }

    fn enter_lock(&mut self, vas_key: Key, key: Key) -> Result<(), Error> {
        let resources = &mut self.resources;
        let segment = self.segments.get(key);
        let (Some(lock), Some(vas)) = (
            segment.and_then(|segment| segment.lock.as_ref()),
            self.vases.get_mut(vas_key),
        ) else {
            return Ok(());
        };
        let locks = &mut vas.locks;
        let Err(position) = locks.shown.binary_search(&key.index) else {
            return Ok(());
        };
        let set = match &mut locks.set {
            Some(set) => set,
            none => {
                let address = SERVER_LOCK_SETS + u64::from(vas_key.index) * PAGE_BYTES;
                none.insert(resources.make_own_page(address)?)
            }
        };
        vas.tables.add_segment(resources, &set_page(set.frame()))?;
        if locks.spares.contains(&key.index) {
            let page = lock_page(key.index, self.spare_page.first());
            vas.tables.remove_segment(resources, &page)?;
            take(&mut locks.spares, key.index);
        }
        let page = lock_page(key.index, lock.frame());
        vas.tables.add_segment(resources, &page)?;
        locks.shown.insert(position, key.index);
        self.locks_have_changed(vas_key);
        Ok(())
    }

    /// Clients do not see the lock of a segment any longer that leaves a VAS.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    pub(super) fn hide_lock(&mut self, vas_key: Key, key: Key) -> Result<(), Error> {
        self.leave_lock(vas_key, key)?;
        self.tidy_locks(vas_key)
    }

    fn leave_lock(&mut self, vas_key: Key, key: Key) -> Result<(), Error> {
        let segment = self.segments.get(key);
        let lock = segment.and_then(|segment| segment.lock.as_ref());
        let Some(frame) = lock.map(OwnPage::frame) else {
            return Ok(());
        };
        let Some(vas) = self.vases.get_mut(vas_key) else {
            return Ok(());
        };
        if vas.locks.set.is_none() {
            return Ok(());
        }
        if take(&mut vas.locks.shown, key.index) {
            vas.locks.hiding.push(key.index);
            self.locks_have_changed(vas_key);
            self.take_back_from_vas(vas_key, key);
        }
        let resources = &mut self.resources;
        let Some(vas) = self.vases.get_mut(vas_key) else {
            return Ok(());
        };
        if !vas.locks.spares.contains(&key.index) {
            let page = lock_page(key.index, frame);
            vas.tables.remove_segment(resources, &page)?;
            // Nobody looks where no lock was shown.
            if take(&mut vas.locks.hiding, key.index) && vas.attachments > 0 {
                vas.locks.spares.push(key.index);
            }
        }
        if vas.locks.spares.contains(&key.index) {
            let page = lock_page(key.index, self.spare_page.first());
            // Whoever it is that takes the segment away, it is kept for those in the VAS.
            let payer = resources.payer();
            resources.pay_as(vas.object.payer);
            let spared = vas.tables.add_segment(resources, &page);
            resources.pay_as(payer);
            // If the kernel refuses, a thread that is just entering faults at worst.
            if spared == Err(Error::Again) {
                return spared;
            }
        }
        Ok(())
    }

    /// A VAS has a segment no longer.
    pub(super) fn lock_leaves(&mut self, vas_key: Key, key: Key) {
        let segment = self.segments.get(key);
        if segment.is_some_and(|segment| segment.lock.is_some()) {
            self.locks_have_changed(vas_key);
            self.take_back_from_vas(vas_key, key);
        }
    }

    /// Takes a lock from all attachments of a VAS.
    fn take_back_from_vas(&mut self, vas_key: Key, key: Key) {
        for attachment in keys_where(&self.attachments, |one| one.vas == vas_key) {
            self.lock(key).take_back(attachment.index);
        }
        self.let_in(Vec::from([key]));
    }

    /// Takes away what is shown of locks in a VAS that nobody is attached to.
    fn hide_all_locks(&mut self, vas_key: Key) -> Result<(), Error> {
        let vas = self.vases.get(vas_key);
        let segments = vas.map_or(Vec::new(), |vas| vas.segments.clone());
        let mut segments = segments.into_iter();
        segments.try_for_each(|(segment, _)| self.leave_lock(vas_key, segment))?;
        self.tidy_locks(vas_key)
    }

    /// Tells clients which locks a VAS has, and has those take them anew who wait.
    pub(super) fn locks_have_changed(&mut self, vas_key: Key) {
        let Some(vas) = self.vases.get(vas_key) else {
            return;
        };
        let lockable = vas.lockable(&self.segments);
        if vas.locks.set.is_some() {
            let segments = lockable.iter().map(|&(key, access)| (key.index, access));
            self.kernel().lock_set(vas_key.index).set(segments);
        }
        let must = vas.must_lock(&lockable);
        let mut changed = Vec::new();
        for key in keys_where(&self.attachments, |one| one.vas == vas_key) {
            self.tell(key, must);
            if self.is_waiting(key) {
                changed.extend(self.leave_locks(key));
                self.advance(key, &mut changed);
            }
        }
        self.let_in(changed);
    }

    /// Tells the client whether it must take locks.
    pub(super) fn tell_locking(&self, key: Key) {
        let attachment = self.attachments.get(key);
        let vas = attachment.and_then(|attachment| self.vases.get(attachment.vas));
        let must = vas.is_some_and(|vas| vas.must_lock(&vas.lockable(&self.segments)));
        self.tell(key, must);
    }

    fn tell(&self, key: Key, must: bool) {
        let AttachmentId(id) = attachment_id(key);
        let word = self.kernel().locking(key.index);
        word.store(if must { id } else { 0 }, Ordering::Release);
    }

    /// Forgets what nobody needs any longer: spare pages if nobody is attached, and the set if then
    /// no lock is shown, or if none was ever shown.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    fn tidy_locks(&mut self, vas_key: Key) -> Result<(), Error> {
        let resources = &mut self.resources;
        let Some(vas) = self.vases.get_mut(vas_key) else {
            return Ok(());
        };
        let locks = &mut vas.locks;
        if vas.attachments == 0 {
            while let Some(&index) = locks.spares.last() {
                let page = lock_page(index, self.spare_page.first());
                vas.tables.remove_segment(resources, &page)?;
                locks.spares.pop();
            }
        }
        if locks.shown.is_empty()
            && locks.spares.is_empty()
            && let Some(set) = &locks.set
        {
            vas.tables
                .remove_segment(resources, &set_page(set.frame()))?;
            if let Some(set) = locks.set.take() {
                resources.discard_own_page(set);
            }
        }
        Ok(())
    }

    /// An attachment has ended, and its root is gone: its locks pass on.
    pub(super) fn attachment_leaves_locks(&mut self, key: Key, attachment: &mut Attachment) {
        self.forget_holder(key, attachment.vas);
        if let Some(waiting) = attachment.waiting.take() {
            self.waiting -= 1;
            self.answer_later(waiting, &Err(Error::StaleAttachment));
        }
        // Whatever stays needs no more than the slots that it has; it goes with the VAS.
        let _ = self.tidy_locks(attachment.vas);
    }

    /// A process has ended. Nobody waits until all that it had has ended.
    pub(super) fn session_leaves_locks(&mut self, session: Key) {
        for key in keys_where(&self.attachments, |one| one.session == session) {
            if let Some(waiting) = self.stop_waiting(key) {
                self.answer_later(waiting, &Err(Error::StaleAttachment));
            }
            if let Some(vas) = self.attachments.get(key).map(|one| one.vas) {
                self.forget_holder(key, vas);
            }
        }
    }

    fn forget_holder(&mut self, key: Key, vas: Key) {
        self.kernel().locking(key.index).store(0, Ordering::Release);
        let vas = self.vases.get(vas);
        let locks = vas.map_or(Vec::new(), |vas| vas.lockable(&self.segments));
        for &(segment, _) in &locks {
            self.lock(segment).take_back(key.index);
        }
        self.let_in(locks.into_iter().map(|(segment, _)| segment).collect());
    }

    /// A VAS is gone, and all its attachments.
    pub(super) fn delete_locks(&mut self, locks: VasLocks) {
        if let Some(page) = locks.set {
            self.resources.discard_own_page(page);
        }
    }

    // The arbiter.

    fn attachment_named(&self, session: Key, id: AttachmentId) -> Result<Key, Error> {
        let key = self.attachment_of(session, id);
        key.ok_or(Error::StaleAttachment)
    }

    fn lock(&self, segment: Key) -> &Lock {
        self.kernel().lock(segment.index)
    }

    fn is_waiting(&self, key: Key) -> bool {
        let attachment = self.attachments.get(key);
        attachment.is_some_and(|attachment| attachment.waiting.is_some())
    }

    /// The locks that an attachment needs, in order.
    fn locks_of(&self, key: Key) -> Vec<(Key, Access)> {
        let Some(attachment) = self.attachments.get(key) else {
            return Vec::new();
        };
        let Some(vas) = self.vases.get(attachment.vas) else {
            return Vec::new();
        };
        if vas.locks.mode == LockMode::None {
            return Vec::new();
        }
        let lockable = vas.lockable(&self.segments).into_iter();
        lockable
            .map(|(segment, access)| (segment, access.min(attachment.access)))
            .collect()
    }

    fn next_lock(&self, key: Key) -> Option<Key> {
        let mut locks = self.locks_of(key).into_iter();
        let missing = |&(segment, access): &_| !self.lock(segment).is_held(key.index, access);
        locks.find(missing).map(|(segment, _)| segment)
    }

    /// Who waits at a lock, in order.
    fn queue(&self, segment: Key) -> Vec<(Key, Access)> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let at = |one: &Attachment| {
            let waiting = one.waiting.as_ref();
            waiting
                .filter(|waiting| waiting.at == segment)
                .map(|waiting| waiting.ticket)
        };
        let attachments = self.attachments.iter();
        let mut queue: Vec<_> = attachments
            .filter_map(|(key, one)| Some((at(one)?, key)))
            .collect();
        queue.sort_unstable();
        queue
            .into_iter()
            .filter_map(|(_, key)| {
                let locks = self.locks_of(key);
                let &(_, access) = locks.iter().find(|&&(other, _)| other == segment)?;
                Some((key, access))
            })
            .collect()
    }

    /// Lets in who waits at these locks, as far as can be, and has them go on to the next.
    fn let_in(&mut self, mut segments: Vec<Key>) {
        while let Some(segment) = segments.pop() {
            let queue = self.queue(segment);
            let holders: Vec<_> = queue
                .iter()
                .map(|&(key, access)| (key.index, access))
                .collect();
            let granted = self.lock(segment).serve(&holders);
            for &(key, _) in queue.iter().take(granted) {
                self.advance(key, &mut segments);
            }
        }
    }

    /// One that waits needs the next lock, or none any longer.
    fn advance(&mut self, key: Key, segments: &mut Vec<Key>) {
        let next = self.next_lock(key);
        let attachment = self.attachments.get_mut(key);
        let Some(waiting) = attachment.and_then(|one| one.waiting.as_mut()) else {
            return;
        };
        if let Some(next) = next {
            waiting.at = next;
            segments.push(next);
        } else if let Some(waiting) = self.stop_waiting(key)
            && waiting.caller.is_some()
        {
            let granted = self.admit(key);
            if granted.is_err() {
                segments.extend(self.leave_locks(key));
            }
            self.answer_later(waiting, &granted);
        }
    }

    fn stop_waiting(&mut self, key: Key) -> Option<Waiting> {
        let waiting = self.attachments.get_mut(key)?.waiting.take()?;
        self.waiting -= 1;
        Some(waiting)
    }

    /// Whether one that could not be let in at once waits.
    fn keep_waiting(&mut self, key: Key, wait: Wait) -> Result<(), Error> {
        if wait == Wait::No {
            return Err(Error::Locked);
        }
        let caller = self.resources.save_caller()?;
        let attachment = self.attachments.get_mut(key);
        if let Some(waiting) = attachment.and_then(|one| one.waiting.as_mut()) {
            waiting.caller = Some(caller);
        }
        Ok(())
    }

    /// All locks are held: hands the root out if it goes with them.
    fn admit(&mut self, key: Key) -> Granted<Locked> {
        let locks = self.locks_of(key);
        let mut locks = locks.iter().map(|&(segment, _)| self.lock(segment));
        let inconsistent = locks.any(Lock::is_inconsistent);
        let stale = Error::StaleAttachment;
        let attachment = self.attachments.get(key).ok_or(stale.clone())?;
        let vas = self.vases.get(attachment.vas).ok_or(stale)?;
        let locked = Locked { inconsistent };
        if vas.locks.mode != LockMode::Enforced {
            return Ok((locked, None));
        }
        let slot = attachment.root.first();
        if !attachment.admitted {
            let kernel = self.resources.kernel_mut();
            kernel.copy(attachment.original_root, slot, Access::ReadOnly)?;
        }
        if let Some(attachment) = self.attachments.get_mut(key) {
            attachment.admitted = true;
        }
        Ok((locked, Some(slot)))
    }

    /// Takes the locks of an attachment back, and its root if that goes with them, and lets
    /// others in.
    fn give_back(&mut self, key: Key) {
        if let Some(attachment) = self.attachments.get_mut(key)
            && core::mem::take(&mut attachment.admitted)
        {
            // Before the locks, as long as nobody else is inside.
            let root = attachment.original_root;
            self.resources.kernel_mut().revoke(root);
        }
        let left = self.leave_locks(key);
        self.let_in(left);
    }

    /// Answers which locks others may be let in to.
    fn leave_locks(&self, key: Key) -> Vec<Key> {
        let locks = self.locks_of(key).into_iter();
        let locks: Vec<_> = locks.map(|(segment, _)| segment).collect();
        for &segment in &locks {
            self.lock(segment).leave(key.index);
        }
        locks
    }

    fn answer_later(&mut self, waiting: Waiting, answer: &Granted<Locked>) {
        let Some(caller) = waiting.caller else {
            return;
        };
        let mut words = [0; WORDS];
        let (label, length, cap) = match answer {
            Ok((locked, cap)) => (0, wire::encode(locked, &mut words), *cap),
            Err(error) => (error.number(), wire::encode(error, &mut words), None),
        };
        let body = words.get(..length.unwrap_or(0)).unwrap_or_default();
        self.resources.reply(caller, label, body, cap);
    }
}
