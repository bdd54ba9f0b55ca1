// SPDX-License-Identifier: MIT OR Apache-2.0

//! Locks of segments: the arbiter, and what clients are shown of locks.
//!
//! See [`protocol::lock`] for what is done without the server. An attachment takes the locks of
//! its VAS in order of the segments' indexes, the same for all VASes, and the thread that waits
//! has no others; so there is no cycle. Other threads of the process may hold the locks of its
//! other attachments meanwhile; one that makes itself wait for those stays where it is. Who waits
//! for a lock is let in by the order in which it asked.
//!
//! What is remembered of one that waits lies in its attachment, and it takes one slot. If it waits
//! until a time, the timer runs, which wakes the server ([`Server::tick`]). The timer is not set
//! back when it is let in or gone before; then nobody is found whose time has come.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use protocol::address_map::{LOCK_SET, LOCKS, PAGE_BYTES, SERVER_LOCK_SETS, SERVER_LOCKS};
use protocol::lock::Lock;
use protocol::message::{Locked, VasLock, VasSetConsistent, VasUnlock, Wait};
use protocol::wire::{self, WORDS};
use protocol::{Access, AttachmentId, Error, LockMode, PageSize};

use super::lifetime::keys_where;
use super::steps::access_in;
use super::{Attachment, Granted, Segment, Server, Vas, attachment_id};
use crate::arena::{Arena, Key};
use crate::kernel::{Kernel, Slot, TIMER_HERTZ};
use crate::policy::page_tables::{Mapping, SegmentMapping};
use crate::resources::{OwnPage, units};
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
    /// Until when it waits.
    deadline: u64,
}

/// A time that never comes.
const FOR_EVER: u64 = u64::MAX;
/// How many are told at a time that they have waited for too long. The others wait on for
/// [`PAUSE`], so that requests are served meanwhile.
const LATE: usize = 64;
/// Ticks from one time that some are told to the next: a good millisecond.
const PAUSE: u64 = TIMER_HERTZ.div_ceil(1000);

/// Who waits for locks, by the segment, in order.
struct Queues {
    /// At which segment, with which ticket, and which attachment.
    waiting: BTreeSet<(Key, u64, Key)>,
    /// Segments whose locks somebody may be let in to.
    look_at: BTreeSet<Key>,
}

impl Queues {
    fn at(&self, segment: Key) -> impl Iterator<Item = Key> {
        let none = Key {
            index: 0,
            generation: 0,
        };
        let from_here = self.waiting.range((segment, 0, none)..);
        let here = from_here.take_while(move |&&(at, ..)| at == segment);
        here.map(|&(_, _, key)| key)
    }
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
        if cooperative && self.locks.shown.is_empty() {
            return Vec::new();
        }
        let mut lockable = self.segments.clone();
        // Both lists are in order.
        let mut shown = self.locks.shown.iter().peekable();
        lockable.retain(|&(key, _)| {
            if cooperative {
                while shown.next_if(|&&index| index < key.index).is_some() {}
                return shown.peek() == Some(&&key.index);
            }
            segments.get(key).is_some_and(|one| one.lock.is_some())
        });
        lockable
    }

    /// The most that it uses a lockable segment for.
    fn locked_with(&self, segment: Key) -> Option<Access> {
        let cooperative = self.locks.mode == LockMode::Cooperative;
        let shown = || self.locks.shown.binary_search(&segment.index).is_ok();
        (!cooperative || shown())
            .then(|| access_in(&self.segments, segment))
            .flatten()
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
                attachment.waiting = Some(Waiting {
                    at,
                    ticket,
                    caller: None,
                    deadline: FOR_EVER,
                });
                self.waiting += 1;
            }
            let mut queues = self.queues([]);
            self.advance(key, &mut queues);
            self.serve(queues);
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
        self.let_in([key]);
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
        self.resources
            .spend(units::LOCKS + lockable.len() as u32 / units::LOCKED);
        let mut anew = Vec::new();
        for key in keys_where(&self.attachments, |one| one.vas == vas_key) {
            self.tell(key, must);
            let attachment = self.attachments.get(key);
            if let Some(waiting) = attachment.and_then(|one| one.waiting.as_ref()) {
                anew.push((waiting.ticket, waiting.at, key));
            }
        }
        if anew.is_empty() {
            return;
        }
        anew.sort_unstable();
        let mut queues = self.queues(lockable.into_iter().map(|(segment, _)| segment));
        for &(_, at, key) in &anew {
            queues.look_at.insert(at);
            self.leave_locks(key);
        }
        for (_, _, key) in anew {
            self.advance(key, &mut queues);
        }
        self.serve(queues);
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
        let ended = keys_where(&self.attachments, |one| one.session == session);
        for &key in &ended {
            self.kernel().locking(key.index).store(0, Ordering::Release);
            if let Some(waiting) = self.stop_waiting(key) {
                self.answer_later(waiting, &Err(Error::StaleAttachment));
            }
        }
        // Each lock is looked at once, however many VASes and attachments there are.
        let mut left = Vec::new();
        for (segment, _) in self.segments.iter().filter(|(_, one)| one.lock.is_some()) {
            let lock = self.lock(segment);
            for holder in lock.holders() {
                if ended.binary_search_by_key(&holder, |key| key.index).is_ok() {
                    lock.take_back(holder);
                }
            }
            left.push(segment);
        }
        self.let_in(left);
    }

    fn forget_holder(&mut self, key: Key, vas: Key) {
        self.kernel().locking(key.index).store(0, Ordering::Release);
        let vas = self.vases.get(vas);
        let locks = vas.map_or(Vec::new(), |vas| vas.lockable(&self.segments));
        if locks.is_empty() {
            return;
        }
        self.resources
            .spend(units::LOCKS + locks.len() as u32 / units::LOCKED);
        for &(segment, _) in &locks {
            self.lock(segment).take_back(key.index);
        }
        self.let_in(locks.into_iter().map(|(segment, _)| segment));
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

    /// Who waits where, and the locks that are to be looked at.
    fn queues(&self, look_at: impl IntoIterator<Item = Key>) -> Queues {
        let waiting = self.attachments.iter().filter_map(|(key, one)| {
            let waiting = one.waiting.as_ref()?;
            Some((waiting.at, waiting.ticket, key))
        });
        Queues {
            waiting: waiting.collect(),
            look_at: look_at.into_iter().collect(),
        }
    }

    /// Lets in who waits at these locks, as far as can be, and has them go on to the next.
    fn let_in(&mut self, segments: impl IntoIterator<Item = Key>) {
        if self.waiting == 0 {
            for segment in segments {
                self.lock(segment).serve(&[]);
            }
            return;
        }
        let queues = self.queues(segments);
        self.serve(queues);
    }

    fn serve(&mut self, mut queues: Queues) {
        while let Some(segment) = queues.look_at.pop_last() {
            let queue: Vec<_> = queues
                .at(segment)
                .filter_map(|key| Some((key, self.needs(key, segment)?)))
                .collect();
            let holders: Vec<_> = queue
                .iter()
                .map(|&(key, access)| (key.index, access))
                .collect();
            let granted = self.lock(segment).serve(&holders);
            for &(key, _) in queue.iter().take(granted) {
                self.advance(key, &mut queues);
            }
        }
    }

    /// What an attachment needs a lock for.
    fn needs(&self, key: Key, segment: Key) -> Option<Access> {
        let attachment = self.attachments.get(key)?;
        let access = self.vases.get(attachment.vas)?.locked_with(segment)?;
        Some(access.min(attachment.access))
    }

    /// One that waits takes what is free of the locks that it still needs, up to the first that is
    /// not; there it waits.
    fn advance(&mut self, key: Key, queues: &mut Queues) {
        let attachment = self.attachments.get(key);
        let Some(waiting) = attachment.and_then(|one| one.waiting.as_ref()) else {
            return;
        };
        let ticket = waiting.ticket;
        queues.waiting.remove(&(waiting.at, ticket, key));
        let mut missing = self.locks_of(key).into_iter();
        let next = missing.find(|&(segment, access)| {
            let lock = self.lock(segment);
            let taken = lock.is_held(key.index, access) || lock.enter(key.index, access);
            if !taken {
                lock.leave(key.index);
            }
            !taken
        });
        if let Some((next, _)) = next {
            if let Some(attachment) = self.attachments.get_mut(key)
                && let Some(waiting) = &mut attachment.waiting
            {
                waiting.at = next;
            }
            queues.waiting.insert((next, ticket, key));
            queues.look_at.insert(next);
        } else if let Some(waiting) = self.stop_waiting(key)
            && waiting.caller.is_some()
        {
            let granted = self.admit(key);
            if granted.is_err() {
                queues.look_at.extend(self.leave_locks(key));
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
        if matches!(wait, Wait::No | Wait::AtMost { microseconds: 0 }) {
            return Err(Error::Locked);
        }
        let caller = self.resources.save_caller()?;
        let attachment = self.attachments.get_mut(key);
        if let Some(waiting) = attachment.and_then(|one| one.waiting.as_mut()) {
            waiting.caller = Some(caller);
            if let Wait::AtMost { microseconds } = wait {
                let kernel = self.resources.kernel_mut();
                waiting.deadline = self.clock.after(kernel, microseconds);
                self.clock.wake_by(kernel, waiting.deadline);
            }
        }
        Ok(())
    }

    /// The timer has woken the server, or may have: those who have waited for too long are told so,
    /// and those are let in whom they kept out.
    pub fn tick(&mut self) {
        let now = self.clock.now(self.resources.kernel_mut());
        let attachments = self.attachments.iter();
        let mut timed: Vec<_> = attachments
            .filter_map(|(key, one)| Some((one.waiting.as_ref()?.deadline, key)))
            .filter(|&(deadline, _)| deadline != FOR_EVER)
            .collect();
        timed.sort_unstable();
        let late = timed.partition_point(|&(deadline, _)| deadline <= now);
        let mut left = Vec::new();
        for (_, key) in timed.drain(..late.min(LATE)) {
            left.extend(self.leave_locks(key));
            if let Some(waiting) = self.stop_waiting(key) {
                self.answer_later(waiting, &Err(Error::Locked));
            }
        }
        left.sort_unstable();
        left.dedup();
        self.let_in(left);
        let pause = if late > 0 { PAUSE } else { 0 };
        let next = timed.first();
        let next = next.map(|&(deadline, _)| deadline.max(now.saturating_add(pause)));
        self.clock.wake_at(self.resources.kernel_mut(), next);
    }

    /// All locks are held: hands the root out if it goes with them.
    fn admit(&mut self, key: Key) -> Granted<Locked> {
        let locks = self.locks_of(key);
        let mut locks = locks.iter().map(|&(segment, _)| self.lock(segment));
        let inconsistent = locks.any(Lock::is_inconsistent);
        let stale = Error::StaleAttachment;
        let attachment = self.attachments.get(key).ok_or(stale.clone())?;
        let vas = self.vases.get(attachment.vas).ok_or(stale.clone())?;
        let locked = Locked { inconsistent };
        if vas.locks.mode != LockMode::Enforced {
            return Ok((locked, None));
        }
        let roots = attachment.roots.as_ref().ok_or(stale)?;
        let slot = roots.shown.first();
        if !attachment.admitted {
            let kernel = self.resources.kernel_mut();
            kernel.copy(roots.original, slot, Access::ReadOnly)?;
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
            && let Some(roots) = &attachment.roots
        {
            // Before the locks, as long as nobody else is inside.
            self.resources.kernel_mut().revoke(roots.original);
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
