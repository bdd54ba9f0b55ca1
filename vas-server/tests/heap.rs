// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much heap clients can make the server take.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use protocol::address_map::{GLOBAL, GLOBAL_SLOTS, SLOT_BYTES};
use protocol::lock::{Lock, LockSet};
use protocol::message::{
    Base, Principal, Request, SegAlloc, SegAttach, SegGranted, SegGrow, SessionCreate, SessionEnd,
    SessionId, VasAttach, VasCreate, VasSetRoot,
};
use protocol::wire::{self, WORDS};
use protocol::{Access, Badge, Error, Handle, Kind, Mode, Name, PageSize, Rights, limits};
use vas_server::{
    Answers, Configuration, Kernel, KernelError, Object, Server, Slot, TableLevel, Timer,
};

struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// What a block costs: a word in front, and pieces of four words.
const fn cost(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(32)
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = TAKEN.fetch_add(cost(layout), Ordering::Relaxed) + cost(layout);
        MOST.fetch_max(taken, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that it needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(cost(layout), Ordering::Relaxed);
        // SAFETY: as above; the block is one of its own.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Agrees to everything and remembers nothing, so that all heap is the server's.
#[derive(Default)]
struct Agreeable {
    lock: Lock,
    lock_set: LockSet,
    locking: AtomicU64,
}

impl Kernel for Agreeable {
    fn shares_tables(&mut self) -> bool {
        true
    }

    fn retype(&mut self, _: Slot, _: Object, _: Slot, _: u32) -> Result<(), KernelError> {
        Ok(())
    }
    fn copy(&mut self, _: Slot, _: Slot, _: Access) -> Result<(), KernelError> {
        Ok(())
    }
    fn mint(&mut self, _: Slot, _: Slot, _: Badge) -> Result<(), KernelError> {
        Ok(())
    }
    fn delete(&mut self, _: Slot) {}
    fn revoke(&mut self, _: Slot) {}
    fn make_asid_pool(&mut self, _: Slot, _: Slot, _: Slot) -> Result<(), KernelError> {
        Ok(())
    }
    fn assign_asid(&mut self, _: Slot, _: Slot) -> Result<(), KernelError> {
        Ok(())
    }
    fn map_table(&mut self, _: Slot, _: TableLevel, _: Slot, _: u64) -> Result<(), KernelError> {
        Ok(())
    }
    fn map_frame(&mut self, _: Slot, _: Slot, _: u64, _: Access) -> Result<(), KernelError> {
        Ok(())
    }
    fn copy_memory(&mut self, _: u64, _: u64, _: u64) {}
    fn save_caller(&mut self, _: Slot) -> Result<(), KernelError> {
        Ok(())
    }
    fn reply(&mut self, _: Slot, _: u64, _: &[u64], _: Option<Slot>) {}
    fn lock(&self, _: u16) -> &Lock {
        &self.lock
    }
    fn lock_set(&self, _: u16) -> &LockSet {
        &self.lock_set
    }
    fn locking(&self, _: u16) -> &AtomicU64 {
        &self.locking
    }
    fn set_timer(&mut self, _: Timer, _: Option<u16>) {}
    fn timer_count(&mut self) -> u16 {
        0
    }
}

/// As often as it takes.
fn send<R: Request>(
    server: &mut Server<Agreeable>,
    badge: Badge,
    request: &R,
    handles: &[Option<Badge>],
) -> Result<R::Reply, Error> {
    loop {
        match send_once(server, badge, request, handles) {
            Err(Error::Again) => {}
            answer => return answer,
        }
    }
}

fn send_once<R: Request>(
    server: &mut Server<Agreeable>,
    badge: Badge,
    request: &R,
    handles: &[Option<Badge>],
) -> Result<R::Reply, Error> {
    let mut words = [0; WORDS];
    let mut reply = [0; WORDS];
    let length = wire::encode(request, &mut words)?;
    let label = R::OPERATION as u64;
    let answer = server.handle(badge, label, &words[..length], handles, &mut reply);
    let answer = answer.expect("answered at once");
    let body = &reply[..answer.length];
    if answer.label == 0 {
        wire::decode(body)
    } else {
        Err(wire::decode(body)?)
    }
}

/// The handle of the object of this number; the first to be made is 0.
fn handle(kind: Kind, index: usize) -> Option<Badge> {
    let handle = Handle {
        kind,
        rights: Rights::all(),
        index: index as u16,
        number: 0,
        generation: 0,
    };
    Some(handle.badge())
}

/// A name of full length.
fn name(number: usize) -> Name {
    Name::new(&format!("{number:032}")).unwrap()
}

/// How segments lie.
struct Lie {
    /// Bytes from one to the next.
    apart: u64,
    own_slots: bool,
    /// Whether every 16th has a lock.
    lockable: bool,
    pieces: u64,
    /// How many fit into one VAS.
    in_vas: usize,
}

/// As many VASes and segments as there may be, every VAS full, and attachments until
/// something runs out. Answers what ran out.
fn fill(server: &mut Server<Agreeable>, lie: &Lie) -> Error {
    let principal = Principal {
        user: 1,
        groups: [1; limits::GROUPS].into_iter().collect(),
    };
    let request = SessionCreate {
        principal,
        private: Default::default(),
    };
    send(server, Badge::CONTROL, &request, &[]).unwrap();
    let session = Handle {
        kind: Kind::Session,
        rights: Rights::empty(),
        index: 0,
        number: 0,
        generation: 0,
    }
    .badge();
    let mode = Mode(0o600);
    for number in 0..limits::SEGMENTS {
        let base = GLOBAL.start + number as u64 * lie.apart % (GLOBAL.end - GLOBAL.start);
        let request = SegAlloc {
            name: name(number),
            base: Base::At(base),
            size: 1,
            page_size: Some(PageSize::Small),
            own_slots: lie.own_slots,
            lockable: lie.lockable && number % 16 == 0,
            mode,
        };
        let _: SegGranted = send(server, session, &request, &[]).unwrap();
        for pages in 2..=lie.pieces {
            let size = pages * 4096;
            let handles = [handle(Kind::Segment, number)];
            send(server, session, &SegGrow { size }, &handles).unwrap();
        }
    }
    for number in 0..limits::VASES {
        let name = name(number);
        send(server, session, &VasCreate { name, mode }, &[]).unwrap();
        for root in 0..limits::ROOTS_PER_VAS {
            let (name, address) = (self::name(root), Some(0));
            let handles = [handle(Kind::Vas, number)];
            send(server, session, &VasSetRoot { name, address }, &handles).unwrap();
        }
        let access = Access::ReadWrite;
        for segment in 0..lie.in_vas {
            let handles = [handle(Kind::Vas, number), handle(Kind::Segment, segment)];
            send(server, session, &SegAttach { access }, &handles).unwrap();
        }
    }
    for number in 0..limits::VASES {
        let access = Access::ReadOnly;
        let handles = [handle(Kind::Vas, number)];
        if let Err(error) = send(server, session, &VasAttach { access }, &handles) {
            return error;
        }
    }
    Error::LimitReached(protocol::Limit::Attachments)
}

/// Checks that the heap that a server takes whose clients take all they can, and then end, is
/// within the bound. Answers what they ran out of, and how many slots there were then.
fn heap_taken(page_tables: &str, slots_bits: u8, lie: &Lie) -> (Error, u64) {
    let configuration = Configuration {
        slots: 10..10 + (1 << slots_bits),
        endpoint: Slot(2),
        vspace: Slot(4),
        asid_control: Slot(3),
        asid_pools: 7,
        timer: Timer {
            interrupt: Slot(5),
            notification: Slot(6),
        },
        quotas: &[],
        untypeds: &[(Slot(1), 30)],
    };
    let before = TAKEN.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let policies = Answers::new(&mut Agreeable::default())
        .choose(&[("page_tables", page_tables)])
        .unwrap();
    let mut server = Server::start(Agreeable::default(), policies, &configuration).unwrap();
    let error = fill(&mut server, lie);
    assert_eq!(server.statistics().vases as usize, limits::VASES);
    assert_eq!(server.statistics().segments as usize, limits::SEGMENTS);
    let slots_free = server.statistics().slots_free;
    // What was deleted and is not free yet is remembered, too.
    let session = SessionId(0);
    send(&mut server, Badge::CONTROL, &SessionEnd { session }, &[]).unwrap();
    while server.statistics().pending > 0 {
        let again = send(&mut server, Badge::CONTROL, &SessionEnd { session }, &[]);
        assert_eq!(again, Err(Error::NotFound));
    }
    assert_eq!(server.statistics().attachments, 0);
    let most = MOST.load(Ordering::Relaxed) - before;
    let bound = limits::server_heap_bytes(slots_bits) as usize;
    assert!(most <= bound, "{most} bytes, and not at most {bound}");
    println!("{page_tables}: {most} bytes of heap at most, of {bound}");
    (error, slots_free)
}

// One test, because what is counted is the heap of the whole process.
#[test]
fn the_heap_that_clients_can_take_is_bounded_by_the_objects_and_the_slots() {
    // Every segment needs page tables of its own, so that most slots stand for one.
    let scattered = Lie {
        apart: SLOT_BYTES / 2 + (2 << 20),
        own_slots: false,
        lockable: true,
        pieces: limits::PIECES_PER_SEGMENT as u64,
        in_vas: limits::SEGMENTS_PER_VAS,
    };
    let (error, slots_free) = heap_taken("mirrored", 16, &scattered);
    assert_eq!(error, Error::OutOfSlots);
    // Fewer than one more attachment takes: copies of the frames and of pages of locks, and tables,
    // each with what divides memory for it.
    let one_more = limits::SEGMENTS_PER_VAS * (limits::PIECES_PER_SEGMENT + 1 + 3 * 3);
    assert!(
        slots_free < one_more as u64,
        "{slots_free} slots, and {one_more} are needed"
    );

    // No VAS takes a slot for any of its segments.
    let in_own_slots = Lie {
        apart: SLOT_BYTES,
        own_slots: true,
        lockable: false,
        pieces: 1,
        in_vas: GLOBAL_SLOTS.count(),
    };
    let (error, _) = heap_taken("shared", 15, &in_own_slots);
    assert_eq!(error, Error::OutOfSlots);
}
