// SPDX-License-Identifier: MIT OR Apache-2.0

//! VASes whose data begin at a root of a known type: the safe way in and out.

#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use protocol::address_map::{GLOBAL, PAGE_BYTES};
use protocol::message::Wait;
use protocol::{Access, Error, Mode, Name, PageSize};
use storage::{Heap, HeapError, Inside, Place, Reading, Root, Shape, Writing};

use crate::lock::{vas_inconsistent, vas_set_consistent};
use crate::malloc::HEAP;
use crate::switch::{Space, switch_for_stay};
use crate::{
    Attachment, Base, Command, Lifetime, Segment, Vas, seg_alloc_lockable, seg_at, seg_at_id,
    seg_attach, seg_ctl, seg_detach, seg_free, seg_grow, seg_stat, vas_attach, vas_create, vas_ctl,
    vas_delete, vas_detach, vas_find, vas_root, vas_set_root, vas_stat,
};

/// Why data of a VAS cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataError {
    /// The VAS service has refused.
    Service(Error),
    /// What is in the VAS is not what this program expects, or is damaged.
    Heap(HeapError),
    /// A process ended while it was in the VAS to write: its data may be half changed. See
    /// [`Writer::rebuild_inconsistent`].
    Inconsistent,
    /// The VAS or its segment has no lock, so others could write at the same time.
    NotLocked,
    /// The calling thread is in a VAS already: see [`Reader::enter_from`].
    Nested,
}

impl From<Error> for DataError {
    fn from(error: Error) -> Self {
        DataError::Service(error)
    }
}

impl From<HeapError> for DataError {
    fn from(error: HeapError) -> Self {
        DataError::Heap(error)
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataError::Service(error) => error.fmt(out),
            DataError::Heap(error) => error.fmt(out),
            DataError::Inconsistent => {
                write!(
                    out,
                    "a process ended while it wrote: data may be half changed"
                )
            }
            DataError::NotLocked => write!(out, "the VAS or its segment has no lock"),
            DataError::Nested => write!(out, "the thread is in a VAS already"),
        }
    }
}

impl core::error::Error for DataError {}

/// How the segment of a new [`DataVas`] is made.
#[derive(Clone, Copy, Debug)]
pub struct SegmentOptions {
    /// Its first address, or [`Base::ForVases`].
    pub base: Base,
    /// Bytes, at least [`storage::LEAST_BYTES`]; it grows when that is not enough.
    pub bytes: u64,
    /// Its pages; `None` as the server's policy chooses.
    pub page_size: Option<PageSize>,
    /// Who may find the VAS and its segment.
    pub mode: Mode,
}

impl SegmentOptions {
    /// So many bytes at the first address of [`GLOBAL`], which those who `mode` says may find. That
    /// other VASes have data at the same addresses does not matter.
    pub const fn new(bytes: u64, mode: Mode) -> Self {
        SegmentOptions {
            base: Base::At(GLOBAL.start),
            bytes,
            page_size: None,
            mode,
        }
    }
}

/// How often [`DataVas::find_or_create`] lets others run that may be making the VAS.
const ATTEMPTS: u32 = 100_000;

/// A VAS with a heap in a lockable segment, from whose root of type `R` all its data is reached.
///
/// VAS and segment have the same name.
#[derive(Debug)]
pub struct DataVas<R: Root> {
    vas: Vas,
    name: Name,
    base: NonNull<u8>,
    root: PhantomData<fn() -> R>,
}

impl<R: Root> DataVas<R> {
    /// Makes a VAS with a root. It can be found as soon as it is complete; if this process ends
    /// before, nothing of it stays.
    ///
    /// # Errors
    /// Those of [`seg_alloc`](crate::seg_alloc), [`vas_create`], [`seg_attach`], [`vas_attach`];
    /// [`HeapError::TooSmall`]. Then nothing of it stays either.
    pub fn create(
        name: &str,
        options: SegmentOptions,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<Self, DataError> {
        // Of two that try, one gets the VAS.
        let vas = vas_create(name, options.mode)?;
        let made = Self::make(&vas, name, options, root);
        if made.is_err() {
            // Refused only if someone else had a hand in it; then it dies with this process.
            let _ = vas_delete(&vas);
        }
        let (name, base) = made?;
        Ok(DataVas {
            vas,
            name,
            base,
            root: PhantomData,
        })
    }

    /// Makes what is in the VAS.
    fn make(
        vas: &Vas,
        name: &str,
        options: SegmentOptions,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<(Name, NonNull<u8>), DataError> {
        let lifetime = vas_stat(vas)?.object.lifetime;
        vas_ctl(vas, Command::Lifetime(Lifetime::Creator))?;
        let SegmentOptions {
            base,
            bytes,
            page_size,
            mode,
        } = options;
        let segment = seg_alloc_lockable(name, base, bytes, page_size, mode)?;
        let made = Self::furnish(vas, name, &segment, lifetime, root);
        if made.is_err() {
            // As above. It is in the VAS still, if it was attached.
            let _ = seg_detach(vas, &segment);
            let _ = seg_free(&segment);
        }
        made
    }

    /// Makes the heap, and lets others see it.
    fn furnish(
        vas: &Vas,
        name: &str,
        segment: &Segment,
        lifetime: Lifetime,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<(Name, NonNull<u8>), DataError> {
        let segment_lifetime = seg_stat(segment)?.object.lifetime;
        seg_ctl(segment, Command::Lifetime(Lifetime::Creator))?;
        let name = Name::new(name)?;
        let base = base(segment.base())?;
        seg_attach(vas, segment, Access::ReadWrite)?;
        let writer = Writer::<R>::new(vas, &name, base)?;
        writer.rebuild(root)?;
        drop(writer);
        seg_ctl(segment, Command::Lifetime(segment_lifetime))?;
        vas_ctl(vas, Command::Lifetime(lifetime))?;
        vas_set_root(vas, HEAP, Some(segment.base()))?;
        Ok((name, base))
    }

    /// Finds a VAS that some process has made.
    ///
    /// # Errors
    /// Those of [`vas_find`]; [`HeapError::NoHeap`] if there is none in it, or not yet.
    pub fn find(name: &str) -> Result<Self, DataError> {
        let vas = vas_find(name)?;
        let address = match vas_root(&vas, HEAP) {
            Err(Error::NotFound) => return Err(HeapError::NoHeap.into()),
            address => address?,
        };
        Ok(DataVas {
            vas,
            name: Name::new(name)?,
            base: base(address)?,
            root: PhantomData,
        })
    }

    /// Finds a VAS, or makes it if there is none: of processes that try at the same time, one makes
    /// it (paper section 5.3) and the others wait until it is complete.
    ///
    /// # Errors
    /// Those of [`find`](Self::find) and [`create`](Self::create).
    pub fn find_or_create(
        name: &str,
        options: SegmentOptions,
        root: impl for<'v> Fn(Heap<'v>) -> R::At<'v>,
    ) -> Result<Self, DataError> {
        for _ in 0..ATTEMPTS {
            match Self::find(name) {
                Err(DataError::Service(Error::NotFound)) => {
                    match Self::create(name, options, &root) {
                        // Another was faster, or the segment's name is taken.
                        Err(DataError::Service(Error::NameExists)) => {}
                        created => return created,
                    }
                }
                Err(DataError::Heap(HeapError::NoHeap)) => {}
                found => return found,
            }
            sel4::yield_now();
        }
        Self::create(name, options, root)
    }

    /// The VAS.
    pub fn vas(&self) -> &Vas {
        &self.vas
    }

    /// Attaches this process, to read.
    ///
    /// # Errors
    /// Those of [`vas_attach`]; [`DataError::NotLocked`].
    pub fn reader(&self) -> Result<Reader<R>, DataError> {
        Attached::new(&self.vas, &self.name, self.base, Access::ReadOnly).map(Reader)
    }

    /// Attaches this process, to write.
    ///
    /// # Errors
    /// Those of [`vas_attach`]; [`DataError::NotLocked`].
    pub fn writer(&self) -> Result<Writer<R>, DataError> {
        Writer::new(&self.vas, &self.name, self.base)
    }

    /// Deletes the VAS and its segment, with all data.
    ///
    /// # Errors
    /// Those of [`vas_attach`], [`seg_at`](crate::seg_at), [`vas_delete`] and [`seg_free`].
    pub fn delete(&self) -> Result<(), Error> {
        let attachment = vas_attach(&self.vas, Access::ReadOnly)?;
        let segment = seg_at(&attachment, self.base.addr().get() as u64);
        vas_detach(attachment).map_err(|(_, error)| error)?;
        let segment = segment?;
        vas_delete(&self.vas)?;
        seg_free(&segment)
    }
}

/// An address at which a heap can begin.
pub(crate) fn base(address: u64) -> Result<NonNull<u8>, HeapError> {
    let base = ptr::with_exposed_provenance_mut(address as usize);
    NonNull::new(base)
        .filter(|_| GLOBAL.contains(&address) && address.is_multiple_of(PAGE_BYTES))
        .ok_or(HeapError::NoHeap)
}

/// Lets heaps grow with their segments.
pub(crate) fn grow_heaps() {
    // SAFETY: the server has made the segment so large, with zeroed memory of its own.
    unsafe { storage::grow_with(grow) };
}

fn grow(base: usize, bytes: usize) -> Option<usize> {
    let active = Space::current().attachment()?;
    let mut segment = seg_at_id(active.id, base as u64).ok()?;
    seg_grow(&mut segment, bytes as u64).ok()?;
    Some(segment.size() as usize)
}

/// This process attached to a VAS with data, to read.
///
/// Dropping it detaches.
#[derive(Debug)]
pub struct Reader<R: Root>(Attached<R>);

/// This process attached to a VAS with data, to write.
///
/// Dropping it detaches.
#[derive(Debug)]
pub struct Writer<R: Root>(Attached<R>);

impl<R: Root> Reader<R> {
    /// Lets `work` read in the VAS: takes its locks, waiting until nobody writes, switches there,
    /// and back when `work` has returned.
    ///
    /// # Errors
    /// [`DataError::Nested`], [`DataError::Inconsistent`], [`DataError::Heap`], those of
    /// [`vas_switch`](crate::vas_switch). Then `work` was not called.
    #[inline]
    pub fn enter<T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Reading>) -> T,
    ) -> Result<T, DataError> {
        // SAFETY: `enter` calls it in the VAS, with its locks, when the heap was checked.
        let work = |place: Place| unsafe { place.read(work) };
        self.0.enter(&Wait::Forever, work)
    }

    /// As [`enter`](Self::enter), but does not wait.
    ///
    /// # Errors
    /// Also [`Error::Locked`].
    pub fn try_enter<T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Reading>) -> T,
    ) -> Result<T, DataError> {
        // SAFETY: as in `enter`.
        let work = |place: Place| unsafe { place.read(work) };
        self.0.enter(&Wait::No, work)
    }

    /// As [`enter`](Self::enter), but waits for so many microseconds at most, as
    /// [`vas_switch_timeout`](crate::vas_switch_timeout) does.
    ///
    /// # Errors
    /// Also [`Error::Locked`].
    pub fn enter_timeout<T>(
        &self,
        microseconds: u64,
        work: impl for<'v> FnOnce(Inside<'v, R, Reading>) -> T,
    ) -> Result<T, DataError> {
        // SAFETY: as in `enter`.
        let work = |place: Place| unsafe { place.read(work) };
        self.0.enter(&Wait::AtMost { microseconds }, work)
    }

    /// As [`enter`](Self::enter), from within another VAS, and back there. What is in that one
    /// cannot be reached meanwhile, so `work` may not use anything of it; its locks are given back
    /// and taken again.
    ///
    /// # Errors
    /// As [`enter`](Self::enter), except [`DataError::Nested`]; the thread is back then, too.
    ///
    /// # Panics
    /// If the thread cannot go on where it was, since that VAS was deleted, rebuilt, or left half
    /// changed meanwhile.
    pub fn enter_from<S: Root, A, T>(
        &self,
        here: &mut Inside<'_, S, A>,
        work: impl for<'v> FnOnce(Inside<'v, R, Reading>) -> T + 'static,
    ) -> Result<T, DataError> {
        // SAFETY: as in `enter`.
        let work = |place: Place| unsafe { place.read(work) };
        self.0.enter_from(here, work)
    }
}

impl<R: Root> Writer<R> {
    fn new(vas: &Vas, name: &Name, base: NonNull<u8>) -> Result<Self, DataError> {
        grow_heaps();
        Attached::new(vas, name, base, Access::ReadWrite).map(Writer)
    }

    /// Lets `work` write in the VAS: takes its locks, waiting until nobody else is there, switches
    /// there, and back when `work` has returned.
    ///
    /// # Errors
    /// [`DataError::Nested`], [`DataError::Inconsistent`], [`DataError::Heap`], those of
    /// [`vas_switch`](crate::vas_switch). Then `work` was not called.
    #[inline]
    pub fn enter<T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T,
    ) -> Result<T, DataError> {
        // SAFETY: `enter` calls it in the VAS, with its locks to write, when the heap was checked.
        let work = |place: Place| unsafe { place.write(work) };
        self.0.enter(&Wait::Forever, work)
    }

    /// As [`enter`](Self::enter), but does not wait.
    ///
    /// # Errors
    /// Also [`Error::Locked`].
    pub fn try_enter<T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T,
    ) -> Result<T, DataError> {
        // SAFETY: as in `enter`.
        let work = |place: Place| unsafe { place.write(work) };
        self.0.enter(&Wait::No, work)
    }

    /// As [`enter`](Self::enter), but waits for so many microseconds at most, as
    /// [`vas_switch_timeout`](crate::vas_switch_timeout) does.
    ///
    /// # Errors
    /// Also [`Error::Locked`].
    pub fn enter_timeout<T>(
        &self,
        microseconds: u64,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T,
    ) -> Result<T, DataError> {
        // SAFETY: as in `enter`.
        let work = |place: Place| unsafe { place.write(work) };
        self.0.enter(&Wait::AtMost { microseconds }, work)
    }

    /// As [`Reader::enter_from`], to write.
    ///
    /// # Errors
    /// As [`Reader::enter_from`].
    ///
    /// # Panics
    /// As [`Reader::enter_from`].
    pub fn enter_from<S: Root, A, T>(
        &self,
        here: &mut Inside<'_, S, A>,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T + 'static,
    ) -> Result<T, DataError> {
        // SAFETY: as in `enter`.
        let work = |place: Place| unsafe { place.write(work) };
        self.0.enter_from(here, work)
    }

    /// Discards all data and begins anew, for a VAS that is [inconsistent](DataError::Inconsistent)
    /// or has another root. The memory stays as much as it was. Where others may find the same and do
    /// the same, see [`rebuild_inconsistent`](Self::rebuild_inconsistent).
    ///
    /// # Errors
    /// Those of [`seg_at`](crate::seg_at); [`DataError::Nested`], [`HeapError::TooSmall`], those of
    /// [`vas_switch`](crate::vas_switch).
    pub fn rebuild(
        &self,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<(), DataError> {
        let _stay = self.0.go_there(&Wait::Forever)?;
        self.build(root)
    }

    /// As [`rebuild`](Self::rebuild), but only if the data are still
    /// [inconsistent](DataError::Inconsistent) once nobody else is there, and answers whether they
    /// were. Of several processes that have found them so, one rebuilds them, and the others
    /// discard nothing that was stored since.
    ///
    /// # Errors
    /// As [`rebuild`](Self::rebuild).
    pub fn rebuild_inconsistent(
        &self,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<bool, DataError> {
        let _stay = self.0.go_there(&Wait::Forever)?;
        let inconsistent = vas_inconsistent();
        if inconsistent {
            self.build(root)?;
        }
        Ok(inconsistent)
    }

    /// Builds in the VAS that the thread has entered.
    fn build(&self, root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>) -> Result<(), DataError> {
        // Asked with the locks held: till then others may have it grown.
        let bytes = self.0.segment()?.size();
        let Attached { name, place, .. } = &self.0;
        // SAFETY: the thread is in the VAS, with its locks to write.
        unsafe { place.build::<R>(bytes as usize, name.as_str(), root)? };
        Ok(vas_set_consistent()?)
    }

    /// Lets `work` write in a VAS whose data are [inconsistent](DataError::Inconsistent), and says
    /// that they are in order when it has returned.
    ///
    /// # Errors
    /// As [`enter`](Self::enter), except [`DataError::Inconsistent`].
    ///
    /// # Safety
    /// Whatever a process may have been doing when it ended, all values that `work` looks at are
    /// whole, and all that are left are when it has returned.
    pub unsafe fn repair<T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T,
    ) -> Result<T, DataError> {
        let Attached { place, shape, .. } = self.0;
        let _stay = self.0.go_there(&Wait::Forever)?;
        // SAFETY: the thread is in the VAS, with its locks to write; else as the caller says.
        let done = unsafe {
            place.check(shape)?;
            place.write(work)
        };
        vas_set_consistent()?;
        Ok(done)
    }
}

#[derive(Debug)]
struct Attached<R: Root> {
    space: Space,
    place: Place,
    shape: u64,
    name: Name,
    /// There until it is dropped.
    attachment: Option<Attachment>,
    root: PhantomData<fn() -> R>,
}

impl<R: Root> Attached<R> {
    fn new(vas: &Vas, name: &Name, base: NonNull<u8>, access: Access) -> Result<Self, DataError> {
        let attachment = vas_attach(vas, access)?;
        let attached = Attached {
            space: attachment.space().for_stay(),
            // SAFETY: the base of a segment for heaps, used in the VAS only, with its locks.
            place: unsafe { Place::new(base) },
            shape: Shape::of::<R>(),
            name: name.clone(),
            root: PhantomData,
            attachment: Some(attachment),
        };
        if attached.space.has_locks() {
            Ok(attached)
        } else {
            Err(DataError::NotLocked)
        }
    }

    /// The segment of the heap.
    fn segment(&self) -> Result<Segment, Error> {
        let active = self.space.attachment().ok_or(Error::StaleAttachment)?;
        seg_at_id(active.id, self.place.base() as u64)
    }

    #[inline]
    fn enter<T>(&self, wait: &Wait, work: impl FnOnce(Place) -> T) -> Result<T, DataError> {
        let _stay = self.go_there(wait)?;
        self.check()?;
        Ok(work(self.place))
    }

    /// Goes to the VAS from the space that the process started in.
    #[inline]
    fn go_there(&self, wait: &Wait) -> Result<Stay, DataError> {
        if Space::current() != Space::OWN {
            return Err(DataError::Nested);
        }
        switch_for_stay(self.space, wait)?;
        Ok(Stay { back: Space::OWN })
    }

    /// Whether data are there that can be used. Asked in the VAS.
    #[inline]
    fn check(&self) -> Result<(), DataError> {
        if vas_inconsistent() {
            return Err(DataError::Inconsistent);
        }
        // SAFETY: the thread is in the VAS, with its locks.
        Ok(unsafe { self.place.check(self.shape) }?)
    }

    fn enter_from<S: Root, A, T>(
        &self,
        here: &mut Inside<'_, S, A>,
        work: impl FnOnce(Place) -> T,
    ) -> Result<T, DataError> {
        let rebuilt = here.rebuilt();
        let back = switch_for_stay(self.space, &Wait::Forever)?;
        let result = {
            let _stay = Stay { back };
            self.check().map(|()| work(self.place))
        };
        assert!(
            !vas_inconsistent() && here.rebuilt() == rebuilt,
            "the VAS that the thread came from has changed past use"
        );
        result
    }
}

impl<R: Root> Drop for Attached<R> {
    fn drop(&mut self) {
        if let Some(attachment) = self.attachment.take() {
            // Refused only if the attachment is gone.
            let _ = vas_detach(attachment);
        }
    }
}

/// A thread in a VAS, which goes back when this is dropped, whatever happens.
struct Stay {
    back: Space,
}

impl Drop for Stay {
    #[inline]
    fn drop(&mut self) {
        // Whatever was in reach before is gone otherwise.
        switch_for_stay(self.back, &Wait::Forever)
            .expect("the space that the thread came from is gone");
    }
}
