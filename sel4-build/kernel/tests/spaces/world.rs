// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small world of roots, tables and frames, and what the kernel does to it.
//!
//! It follows `decode*`, `perform*` and `finalise*` of the patched kernel step by step, with
//! the translations that a processor may hold, so that what it says can be compared with the
//! real kernel, and each measure of the patches can be left out. Below each PML4 index there
//! is one entry a table, the first: the choice of an entry is not what the patches are about.

use std::fmt;

/// Roots, PDPTs and copies of PDPT caps in the world, and PML4 indices that are used.
pub const ROOTS: usize = 3;
pub const PDPTS: usize = 2;
pub const COPIES: usize = 3;
pub const PLACES: usize = 2;
/// Two frames of 4 KiB, one of 2 MiB, one of 1 GiB.
pub const FRAMES: usize = 4;
pub const LARGE: u8 = 2;
pub const HUGE: u8 = 3;

/// Errors (libsel4, `errors.h`), as invocations answer them; 0 is none.
pub mod error {
    pub const INVALID_ARGUMENT: u8 = 1;
    pub const INVALID_CAPABILITY: u8 = 2;
    pub const ILLEGAL_OPERATION: u8 = 3;
    pub const FAILED_LOOKUP: u8 = 6;
    pub const DELETE_FIRST: u8 = 8;
    pub const REVOKE_FIRST: u8 = 9;
    pub const NOT_ENOUGH_MEMORY: u8 = 10;
}
use error::*;

/// A slot of the CNode. Those that Retype fills name their objects too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    Pool,
    Root(u8),
    /// A copy of a root's cap, as clients hold.
    Client(u8),
    Pdpt(u8),
    /// A copy of a PDPT's cap.
    Copy(u8),
    Directory(Twin),
    Table(Twin),
    Frame(u8, Twin),
}

/// The cap that Retype made, or the copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Twin {
    Original,
    Copy,
}
use Twin::Original;

impl Slot {
    /// All, in the order in which the root task numbers them.
    pub fn all() -> impl Iterator<Item = Slot> {
        let numbered = |count: usize, slot: fn(u8) -> Slot| (0..count as u8).map(slot);
        [Slot::Pool]
            .into_iter()
            .chain(numbered(ROOTS, Slot::Root))
            .chain(numbered(ROOTS, Slot::Client))
            .chain(numbered(PDPTS, Slot::Pdpt))
            .chain(numbered(COPIES, Slot::Copy))
            .chain(
                [Slot::Directory, Slot::Table]
                    .into_iter()
                    .flat_map(|slot| [Original, Twin::Copy].map(slot)),
            )
            .chain((0..FRAMES as u8).map(|frame| Slot::Frame(frame, Original)))
            .chain((0..FRAMES as u8).map(|frame| Slot::Frame(frame, Twin::Copy)))
    }

    /// Whether Retype, or the cap for pools, fills it.
    pub fn is_original(self) -> bool {
        match self {
            Slot::Client(_) | Slot::Copy(_) => false,
            Slot::Directory(twin) | Slot::Table(twin) | Slot::Frame(_, twin) => twin == Original,
            Slot::Pool | Slot::Root(_) | Slot::Pdpt(_) => true,
        }
    }

    pub fn is_root(self) -> bool {
        matches!(self, Slot::Root(_) | Slot::Client(_))
    }

    /// Whether it is for a table below the root.
    pub fn is_table(self) -> bool {
        matches!(
            self,
            Slot::Pdpt(_) | Slot::Copy(_) | Slot::Directory(_) | Slot::Table(_)
        )
    }

    pub fn is_frame(self) -> bool {
        matches!(self, Slot::Frame(..))
    }

    /// Whether a slot is for copies of the cap in this one.
    pub fn fits_into(self, copy: Slot) -> bool {
        let same_kind = match (self, copy) {
            (Slot::Frame(one, _), Slot::Frame(other, _)) => one == other,
            (Slot::Directory(_), Slot::Directory(_)) | (Slot::Table(_), Slot::Table(_)) => true,
            (Slot::Pdpt(_) | Slot::Copy(_), Slot::Copy(_)) => true,
            _ => self.is_root() && copy.is_root(),
        };
        same_kind && self != copy && !copy.is_original()
    }

    /// Its place in that order.
    pub fn number(self) -> u8 {
        Slot::all().position(|slot| slot == self).unwrap() as u8
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copy = |twin| if twin == Original { "" } else { " copy" };
        match *self {
            Slot::Pool => write!(out, "pool"),
            Slot::Root(root) => write!(out, "root {root}"),
            Slot::Client(client) => write!(out, "root copy {client}"),
            Slot::Pdpt(pdpt) => write!(out, "PDPT {pdpt}"),
            Slot::Copy(number) => write!(out, "PDPT copy {number}"),
            Slot::Directory(twin) => write!(out, "directory{}", copy(twin)),
            Slot::Table(twin) => write!(out, "table{}", copy(twin)),
            Slot::Frame(frame, twin) => write!(out, "frame {frame}{}", copy(twin)),
        }
    }
}

/// What a thread may ask of the kernel. Places are numbers of PML4 indices.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Make an object of its untyped memory; a pool, by the cap for that.
    Make(Slot),
    /// Give a root an ASID: the kernel takes the lowest that is free. A model may take any.
    Assign(Slot, Option<u8>),
    Map {
        table: Slot,
        root: Slot,
        place: u8,
    },
    MapFrame {
        frame: Slot,
        root: Slot,
        place: u8,
        write: bool,
    },
    Remap {
        frame: Slot,
        root: Slot,
        write: bool,
    },
    Unmap(Slot),
    Copy {
        from: Slot,
        to: Slot,
        write: bool,
    },
    Delete(Slot),
    Revoke(Slot),
    /// Revoke the untyped memory of an object.
    RevokeMemory(Slot),
    /// The thread goes into a root by one of its caps.
    Switch(Slot),
    /// The thread goes back to its own root.
    SwitchBack,
}
use Operation::*;

impl fmt::Debug for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = |write| if write { "" } else { " read-only" };
        match *self {
            Make(object) => write!(out, "make {object:?}"),
            Assign(root, None) => write!(out, "give {root:?} an ASID"),
            Assign(root, Some(asid)) => write!(out, "give {root:?} ASID {asid}"),
            Map { table, root, place } => {
                write!(out, "map {table:?} in {root:?} at place {place}")
            }
            MapFrame {
                frame,
                root,
                place,
                write,
            } => {
                let access = access(write);
                write!(out, "map {frame:?} in {root:?} at place {place}{access}")
            }
            Remap { frame, root, write } => {
                write!(out, "remap {frame:?} in {root:?}{}", access(write))
            }
            Unmap(cap) => write!(out, "unmap {cap:?}"),
            Copy { from, to, write } => write!(out, "copy {from:?} to {to:?}{}", access(write)),
            Delete(cap) => write!(out, "delete {cap:?}"),
            Revoke(cap) => write!(out, "revoke {cap:?}"),
            RevokeMemory(object) => write!(out, "revoke the memory of {object:?}"),
            Switch(root) => write!(out, "switch to {root:?}"),
            SwitchBack => write!(out, "switch back"),
        }
    }
}

/// A measure of the patches that the safety rule rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    FrameCapsUnmapThemselves,
    RootsWithoutAsidAreEmpty,
    RootIsLoadedAgainWhenItsAsidGoes,
    TablesAreMappedUnderTheirRootsAsid,
    CopiesAreNoHomes,
    ReadOnlyCopiesStaySo,
    WalksStopAtAttachments,
    AttachmentsLieAtTheirHomesAddress,
    HomesStayWhileAttached,
    PdptIsClearedWithItsHome,
    PdptIsClearedWithItsHomesRoot,
    EveryPdptCapUnmapsItself,
    PagesAreFlushedInEveryRoot,
    RemappedPagesAreFlushed,
    TablesAreFlushed,
    DirectoriesAreFlushed,
    PdptsAreFlushed,
    RootsAreFlushedEverywhere,
    SwitchOnlyRootsTakeNoMappings,
}
use Measure::*;

impl Measure {
    pub const ALL: [Measure; 19] = [
        FrameCapsUnmapThemselves,
        RootsWithoutAsidAreEmpty,
        RootIsLoadedAgainWhenItsAsidGoes,
        TablesAreMappedUnderTheirRootsAsid,
        CopiesAreNoHomes,
        ReadOnlyCopiesStaySo,
        WalksStopAtAttachments,
        AttachmentsLieAtTheirHomesAddress,
        HomesStayWhileAttached,
        PdptIsClearedWithItsHome,
        PdptIsClearedWithItsHomesRoot,
        EveryPdptCapUnmapsItself,
        PagesAreFlushedInEveryRoot,
        RemappedPagesAreFlushed,
        TablesAreFlushed,
        DirectoriesAreFlushed,
        PdptsAreFlushed,
        RootsAreFlushedEverywhere,
        SwitchOnlyRootsTakeNoMappings,
    ];
}

/// Which kernel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Copies of PDPT caps are attachments, roots can be switched to and be switch-only.
    pub extended: bool,
    /// The processor has address-space tags, and the kernel uses them.
    pub tags: bool,
    /// The measure that it lacks.
    pub without: Option<Measure>,
}

impl Kernel {
    pub const STOCK: Kernel = Kernel {
        extended: false,
        tags: false,
        without: None,
    };
    pub const EXTENDED: Kernel = Kernel {
        extended: true,
        tags: false,
        without: None,
    };
    pub const TAGGED: Kernel = Kernel {
        extended: true,
        tags: true,
        without: None,
    };

    fn has(self, measure: Measure) -> bool {
        self.without != Some(measure)
    }
}

type Asid = u8;
/// The ASID of a root, and a PML4 index: where a cap says that it is mapped.
type Mapped = Option<(Asid, u8)>;

/// What the only entry of a table below the root leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Entry {
    #[default]
    Empty,
    /// The table of the next level: there is one.
    Table,
    Frame {
        frame: u8,
        write: bool,
    },
}

/// An entry of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct RootEntry {
    pdpt: u8,
    attachment: bool,
    write: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Root {
    original: bool,
    asid: Option<Asid>,
    entries: [Option<RootEntry>; PLACES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ClientCap {
    root: u8,
    switch_only: bool,
}

/// A cap of a table of which copies share the mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TableCaps {
    caps: [Option<Mapped>; 2],
    entry: Entry,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pdpt {
    home: Option<Mapped>,
    entry: Entry,
}

/// A copy of a PDPT cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PdptCopy {
    pdpt: u8,
    /// The home's place.
    place: u8,
    attachment: bool,
    write: bool,
    /// What the rights of all the copies that led to it allow: `write` must not exceed it.
    may_write: bool,
    asid: Option<Asid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FrameCap {
    write: bool,
    mapped: Mapped,
}

/// What a processor may remember of one PML4 index, under one tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Line {
    pdpt: Option<(u8, bool)>,
    directory: Option<bool>,
    table: Option<bool>,
    page: Option<(u8, bool)>,
}

/// The root that a thread's slot has a cap of, or that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    Own,
    Root(u8),
    /// No cap; the kernel's own root, in which every access faults.
    None,
}

/// The state of all that the operations change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct World {
    pool: bool,
    asids: [Option<u8>; ROOTS],
    roots: [Root; ROOTS],
    clients: [Option<ClientCap>; ROOTS],
    pdpts: [Pdpt; PDPTS],
    copies: [Option<PdptCopy>; COPIES],
    directory: TableCaps,
    table: TableCaps,
    frames: [[Option<FrameCap>; 2]; FRAMES],
    /// The root that the thread's own slot has a cap of.
    thread: Space,
    loaded: Space,
    caches: [[Line; PLACES]; ROOTS],
    /// Whether something was mapped through a root cap that only switches.
    misused: bool,
}

/// What a thread in a root finds at a place: the frame, and whether it can write there.
pub type Sight = Option<(u8, bool)>;

const ATTACHED_FOR_MORE: &str = "a PDPT is attached without a cap for that, or for writing";

impl World {
    /// With nothing in it; the thread is in its own root.
    pub fn new() -> Self {
        World {
            pool: false,
            asids: [None; ROOTS],
            roots: [Root::default(); ROOTS],
            clients: [None; ROOTS],
            pdpts: [Pdpt::default(); PDPTS],
            copies: [None; COPIES],
            directory: TableCaps::default(),
            table: TableCaps::default(),
            frames: [[None; 2]; FRAMES],
            thread: Space::Own,
            loaded: Space::Own,
            caches: [[Line::default(); PLACES]; ROOTS],
            misused: false,
        }
    }

    /// Does an operation and lets the thread run on: gives the kernel's answer.
    pub fn step(&mut self, kernel: Kernel, operation: Operation) -> u8 {
        let answer = match (Step {
            world: self,
            kernel,
        })
        .perform(operation)
        {
            Ok(()) => 0,
            Err(error) => error,
        };
        self.remember(kernel);
        answer
    }

    /// The thread's next turn to run: its root is loaded. If it has none it faults, and its
    /// fault handler puts it back into its own.
    pub fn reschedule(&mut self, kernel: Kernel) {
        let mut step = Step {
            world: self,
            kernel,
        };
        step.load_root();
        if step.world.loaded == Space::None {
            step.leave(Space::Own);
        }
        self.remember(kernel);
    }

    /// Whether the thread will be put back into its own root when it runs on.
    pub fn is_evicted(&self) -> bool {
        self.thread_root() == Space::None
    }

    fn thread_root(&self) -> Space {
        match self.thread {
            Space::Root(root) if self.is_usable(root) => Space::Root(root),
            Space::Root(_) => Space::None,
            space => space,
        }
    }

    /// Whether a root has an ASID that names it.
    pub fn is_usable(&self, root: u8) -> bool {
        let asid = self.roots[root as usize].asid;
        asid.is_some_and(|asid| self.find(asid) == Some(root))
    }

    /// The space that the thread is in.
    pub fn thread(&self) -> Space {
        self.thread
    }

    /// Whether any cap of a root is left.
    pub fn root_lives(&self, root: u8) -> bool {
        self.roots[root as usize].original
            || self.thread == Space::Root(root)
            || self
                .clients
                .iter()
                .flatten()
                .any(|client| client.root == root)
    }

    /// A cap in the CNode by which a root can be switched to.
    pub fn way_into(&self, root: u8) -> Option<Slot> {
        let copy = || {
            let client = |client: &Option<ClientCap>| client.is_some_and(|cap| cap.root == root);
            self.clients
                .iter()
                .position(client)
                .map(|client| Slot::Client(client as u8))
        };
        match self.roots[root as usize].original {
            _ if !self.is_usable(root) => None,
            true => Some(Slot::Root(root)),
            false => copy(),
        }
    }

    /// What the tables of a root lead to.
    pub fn sight(&self, root: u8, place: u8) -> Sight {
        self.walk(Line::default(), root, place).page
    }

    /// Whether a slot is empty.
    pub fn is_empty(&self, slot: Slot) -> bool {
        match slot {
            Slot::Pool => !self.pool,
            Slot::Root(root) => !self.roots[root as usize].original,
            Slot::Client(client) => self.clients[client as usize].is_none(),
            Slot::Pdpt(pdpt) => self.pdpts[pdpt as usize].home.is_none(),
            Slot::Copy(copy) => self.copies[copy as usize].is_none(),
            Slot::Directory(twin) => self.directory.caps[twin as usize].is_none(),
            Slot::Table(twin) => self.table.caps[twin as usize].is_none(),
            Slot::Frame(frame, twin) => self.frames[frame as usize][twin as usize].is_none(),
        }
    }

    /// Whether any cap of an object is left.
    fn lives(&self, object: Slot) -> bool {
        match object {
            Slot::Root(root) => self.root_lives(root),
            Slot::Pdpt(pdpt) => !self.is_empty(object) || self.copies_of(pdpt).next().is_some(),
            Slot::Directory(_) => self.directory.caps.iter().any(Option::is_some),
            Slot::Table(_) => self.table.caps.iter().any(Option::is_some),
            Slot::Frame(frame, _) => self.frames[frame as usize].iter().any(Option::is_some),
            slot => !self.is_empty(slot),
        }
    }

    fn copies_of(&self, pdpt: u8) -> impl Iterator<Item = &PdptCopy> {
        self.copies
            .iter()
            .flatten()
            .filter(move |copy| copy.pdpt == pdpt)
    }

    fn find(&self, asid: Asid) -> Option<u8> {
        self.asids[asid as usize].filter(|_| self.pool)
    }

    // The processor.

    /// Completes what is remembered by walking on from the lowest table remembered.
    fn walk(&self, mut line: Line, root: u8, place: u8) -> Line {
        if line.pdpt.is_none() {
            line.pdpt = self.roots[root as usize].entries[place as usize]
                .map(|entry| (entry.pdpt, entry.write));
        }
        let mut page = None;
        let mut below = |entry, write| match entry {
            Entry::Table => Some(write),
            Entry::Frame {
                frame,
                write: allowed,
            } => {
                page = Some((frame, write && allowed));
                None
            }
            Entry::Empty => None,
        };
        if let (None, None, Some((pdpt, write))) = (line.table, line.directory, line.pdpt) {
            line.directory = below(self.pdpts[pdpt as usize].entry, write);
        }
        if let (None, Some(write)) = (line.table, line.directory) {
            line.table = below(self.directory.entry, write);
        }
        if let Some(write) = line.table {
            below(self.table.entry, write);
        }
        line.page = line.page.or(page);
        line
    }

    /// The tag of what is remembered of a root.
    fn tag(&self, kernel: Kernel, root: u8) -> usize {
        match self.roots[root as usize].asid {
            Some(asid) if kernel.tags => asid as usize,
            _ => 0,
        }
    }

    /// The processor walks everywhere that it can and remembers all that it finds.
    fn remember(&mut self, kernel: Kernel) {
        if let Space::Root(root) = self.loaded {
            let tag = self.tag(kernel, root);
            for place in 0..PLACES {
                self.caches[tag][place] = self.walk(self.caches[tag][place], root, place as u8);
            }
        }
    }

    /// The same world without what cannot matter: what is left in the memory of what is gone,
    /// and which of several slots of one kind holds which copy.
    #[must_use]
    pub fn normal(mut self) -> Self {
        for root in 0..ROOTS {
            if !self.root_lives(root as u8) {
                self.roots[root] = Root::default();
            }
        }
        for pdpt in 0..PDPTS {
            if !self.lives(Slot::Pdpt(pdpt as u8)) {
                self.pdpts[pdpt].entry = Entry::Empty;
            }
        }
        for table in [&mut self.directory, &mut self.table] {
            if table.caps == [None; 2] {
                table.entry = Entry::Empty;
            }
        }
        self.clients.sort_by(|one, two| two.cmp(one));
        self.copies.sort_by(|one, two| two.cmp(one));
        self
    }

    /// The same world with other numbers for roots, ASIDs, PDPTs and small frames: thing `n`
    /// becomes `names[n]`.
    #[must_use]
    pub fn renamed(&self, kernel: Kernel, names: &Names) -> Self {
        let mut new = *self;
        let Names {
            roots,
            asids,
            pdpts,
            frames,
        } = names;
        let asid_of = |asid: Asid| asids[asid as usize];
        let mapped = |mapped: Mapped| mapped.map(|(asid, place)| (asid_of(asid), place));
        let frame_of = |frame: u8| frames.get(frame as usize).copied().unwrap_or(frame);
        let entry_of = |entry| match entry {
            Entry::Frame { frame, write } => Entry::Frame {
                frame: frame_of(frame),
                write,
            },
            entry => entry,
        };
        let space = |space| match space {
            Space::Root(root) => Space::Root(roots[root as usize]),
            space => space,
        };
        for (asid, root) in self.asids.iter().enumerate() {
            new.asids[asids[asid] as usize] = root.map(|root| roots[root as usize]);
        }
        for (root, old) in self.roots.iter().enumerate() {
            let Root {
                original,
                asid,
                mut entries,
            } = *old;
            for entry in entries.iter_mut().flatten() {
                entry.pdpt = pdpts[entry.pdpt as usize];
            }
            let asid = asid.map(asid_of);
            new.roots[roots[root] as usize] = Root {
                original,
                asid,
                entries,
            };
        }
        for client in new.clients.iter_mut().flatten() {
            client.root = roots[client.root as usize];
        }
        for (pdpt, Pdpt { home, entry }) in self.pdpts.iter().enumerate() {
            let (home, entry) = (home.map(mapped), entry_of(*entry));
            new.pdpts[pdpts[pdpt] as usize] = Pdpt { home, entry };
        }
        for copy in new.copies.iter_mut().flatten() {
            copy.pdpt = pdpts[copy.pdpt as usize];
            copy.asid = copy.asid.map(asid_of);
        }
        for table in [&mut new.directory, &mut new.table] {
            table.caps = table.caps.map(|cap| cap.map(mapped));
            table.entry = entry_of(table.entry);
        }
        for (frame, caps) in self.frames.iter().enumerate() {
            new.frames[frame_of(frame as u8) as usize] = caps.map(|cap| {
                cap.map(|cap| FrameCap {
                    mapped: mapped(cap.mapped),
                    ..cap
                })
            });
        }
        new.thread = space(self.thread);
        new.loaded = space(self.loaded);
        for (tag, lines) in self.caches.iter().enumerate() {
            let new = &mut new.caches[if kernel.tags {
                asids[tag] as usize
            } else {
                tag
            }];
            *new = *lines;
            for line in new {
                line.pdpt = line.pdpt.map(|(pdpt, write)| (pdpts[pdpt as usize], write));
                line.page = line.page.map(|(frame, write)| (frame_of(frame), write));
            }
        }
        new.copies.sort_by(|one, two| two.cmp(one));
        new.clients.sort_by(|one, two| two.cmp(one));
        new
    }

    // The rule.

    /// What of the safety rule is broken, if anything.
    pub fn violation(&self, kernel: Kernel) -> Option<&'static str> {
        for root in (0..ROOTS as u8).filter(|&root| self.root_lives(root)) {
            for place in 0..PLACES as u8 {
                let found = self.walk(Line::default(), root, place);
                if let Some(violation) = self.check_walk(root, place, found) {
                    return Some(violation);
                }
                let remembered = self.caches[self.tag(kernel, root)][place as usize];
                let current = if kernel.tags {
                    self.is_usable(root)
                } else {
                    self.loaded == Space::Root(root)
                };
                if current && !remembered.within(found) {
                    return Some("a processor remembers what is gone");
                }
            }
        }
        match self.loaded {
            Space::Root(root) if !self.root_lives(root) => Some("a root that is gone is loaded"),
            _ => self
                .misused
                .then_some("a root cap that only switches was used to map"),
        }
    }

    /// Whether a thread can see with the operations of [`Operation`] that the rule is broken:
    /// in the root that it is in, as the processor remembers it, or in one that it can go to.
    pub fn shows_violation(&self) -> bool {
        let seen = |root: u8, page: Sight| {
            let (frame, write) = page?;
            let gone = self.is_empty(Slot::Frame(frame, Original))
                && self.is_empty(Slot::Frame(frame, Twin::Copy));
            let known = |cap: &FrameCap| cap.mapped.is_some() && (cap.write || !write);
            let mapped = self.frames[frame as usize].iter().flatten().any(known);
            (gone || !mapped || !self.root_lives(root)).then_some(())
        };
        let inside = |root: u8| self.loaded == Space::Root(root);
        self.misused
            || (0..ROOTS as u8).any(|root| {
                (0..PLACES).any(|place| {
                    let found = self.walk(Line::default(), root, place as u8);
                    let remembered = self.caches[0][place].page.filter(|_| inside(root));
                    let reached = self.way_into(root).is_some() || inside(root);
                    let attached_for_more = self.check_walk(root, place as u8, found)
                        == Some(ATTACHED_FOR_MORE)
                        && found.page.is_some_and(|(_, write)| write);
                    let stale = Line {
                        page: remembered,
                        ..Line::default()
                    };
                    reached
                        && (seen(root, found.page).is_some()
                            || attached_for_more
                            || !stale.within(found))
                })
            })
    }

    fn check_walk(&self, root: u8, place: u8, found: Line) -> Option<&'static str> {
        let dead = |object| !self.lives(object);
        if found.pdpt.is_some_and(|(pdpt, _)| dead(Slot::Pdpt(pdpt)))
            || found.directory.is_some() && dead(Slot::Directory(Original))
            || found.table.is_some() && dead(Slot::Table(Original))
        {
            return Some("a table that is gone is reached");
        }
        if let Some(entry) = self.roots[root as usize].entries[place as usize]
            && entry.attachment
        {
            let allowed = self.copies_of(entry.pdpt).any(|copy| {
                copy.asid.is_some_and(|asid| self.find(asid) == Some(root))
                    && (copy.may_write || !entry.write)
            });
            if !allowed {
                return Some(ATTACHED_FOR_MORE);
            }
        }
        let (frame, write) = found.page?;
        if dead(Slot::Frame(frame, Original)) {
            return Some("a frame that is gone is reached");
        }
        let known = self.frames[frame as usize]
            .iter()
            .flatten()
            .any(|cap| cap.mapped.is_some() && (cap.write || !write));
        (!known).then_some("a frame is reached by a mapping whose cap is gone")
    }

    /// What of the five invariants of the patch `attach` does not hold, if anything.
    pub fn broken_invariant(&self) -> Option<&'static str> {
        for root in 0..ROOTS {
            let Root { asid, entries, .. } = self.roots[root];
            for (place, entry) in entries.iter().enumerate() {
                let Some(entry) = entry else { continue };
                if !self.root_lives(root as u8) {
                    continue;
                }
                let here = asid.filter(|&asid| self.find(asid) == Some(root as u8));
                let Some(here) = here else {
                    return Some("0: a root without an ASID has an entry");
                };
                let found = if entry.attachment {
                    self.copies_of(entry.pdpt)
                        .any(|copy| copy.asid == Some(here) && copy.place == place as u8)
                } else {
                    self.pdpts[entry.pdpt as usize].home == Some(Some((here, place as u8)))
                };
                if !found {
                    return Some("1: no cap finds the entry of a root");
                }
            }
        }
        for (pdpt, Pdpt { home, entry }) in self.pdpts.iter().enumerate() {
            let pdpt = pdpt as u8;
            if !self.lives(Slot::Pdpt(pdpt)) {
                continue;
            }
            let at_home = home.flatten().and_then(|(asid, place)| {
                let root = self.find(asid)?;
                let entry = self.roots[root as usize].entries[place as usize]?;
                (entry.pdpt == pdpt && !entry.attachment).then_some(place)
            });
            if at_home.is_none() && *entry != Entry::Empty {
                return Some("3: a PDPT without a home is not empty");
            }
            let elsewhere = self.roots.iter().any(|root| {
                root.entries.iter().enumerate().any(|(place, entry)| {
                    entry.is_some_and(|entry| entry.pdpt == pdpt)
                        && at_home.is_some_and(|home| home as usize != place)
                })
            });
            if elsewhere {
                return Some("4: a PDPT is entered at two addresses");
            }
        }
        None
    }
}

/// Other numbers for things of which one is as good as the other.
#[derive(Clone, Debug)]
pub struct Names {
    pub roots: [u8; ROOTS],
    pub asids: [u8; ROOTS],
    pub pdpts: [u8; PDPTS],
    pub frames: [u8; 2],
}

impl Line {
    /// Whether all of this is in another, and allows no more there.
    fn within(self, other: Line) -> bool {
        let pair = |mine: Option<(u8, bool)>, other: Option<(u8, bool)>| {
            mine.is_none_or(|(what, write)| {
                other.is_some_and(|(other, may)| what == other && (may || !write))
            })
        };
        let flag = |mine: Option<bool>, other: Option<bool>| {
            mine.is_none_or(|write| other.is_some_and(|may| may || !write))
        };
        pair(self.pdpt, other.pdpt)
            && flag(self.directory, other.directory)
            && flag(self.table, other.table)
            && pair(self.page, other.page)
    }
}

/// The kernel at work on the world.
struct Step<'a> {
    world: &'a mut World,
    kernel: Kernel,
}

impl Step<'_> {
    fn perform(&mut self, operation: Operation) -> Result<(), u8> {
        let misused = match operation {
            Map { root, .. } | MapFrame { root, .. } => self.is_switch_only(root),
            _ => false,
        };
        let answer = self.answer(operation);
        self.world.misused |= misused && answer.is_ok();
        answer
    }

    fn answer(&mut self, operation: Operation) -> Result<(), u8> {
        match operation {
            Make(object) => self.make(object),
            Assign(root, asid) => self.assign(root, asid),
            Map { table, root, place } => self.map_table(table, root, place),
            MapFrame {
                frame,
                root,
                place,
                write,
            } => self.map_frame(frame, root, place, write),
            Remap { frame, root, write } => self.remap(frame, root, write),
            Unmap(slot) => self.unmap(slot),
            Copy { from, to, write } => self.copy(from, to, write),
            Delete(slot) => {
                self.delete(slot);
                Ok(())
            }
            Revoke(slot) => {
                self.revoke(slot);
                Ok(())
            }
            RevokeMemory(object) => {
                self.revoke_memory(object);
                Ok(())
            }
            Switch(root) => self.switch(root),
            SwitchBack => self.switch_to(Space::Own),
        }
    }

    fn make(&mut self, object: Slot) -> Result<(), u8> {
        let world = &mut *self.world;
        if object == Slot::Pool {
            // It has its memory looked at before the slot.
            if world.pool {
                return Err(REVOKE_FIRST);
            }
        } else if !world.is_empty(object) {
            return Err(DELETE_FIRST);
        } else if world.lives(object) {
            return Err(NOT_ENOUGH_MEMORY);
        }
        match object {
            Slot::Pool => {
                world.pool = true;
                world.asids = [None; ROOTS];
            }
            Slot::Root(root) => {
                world.roots[root as usize] = Root {
                    original: true,
                    ..Root::default()
                };
            }
            Slot::Pdpt(pdpt) => {
                world.pdpts[pdpt as usize] = Pdpt {
                    home: Some(None),
                    entry: Entry::Empty,
                };
            }
            Slot::Directory(_) => {
                world.directory = TableCaps {
                    caps: [Some(None), None],
                    entry: Entry::Empty,
                }
            }
            Slot::Table(_) => {
                world.table = TableCaps {
                    caps: [Some(None), None],
                    entry: Entry::Empty,
                }
            }
            Slot::Frame(frame, _) => {
                world.frames[frame as usize][0] = Some(FrameCap {
                    write: true,
                    mapped: None,
                });
            }
            Slot::Client(_) | Slot::Copy(_) => unreachable!("copies are not made"),
        }
        Ok(())
    }

    fn assign(&mut self, slot: Slot, asid: Option<u8>) -> Result<(), u8> {
        let world = &mut *self.world;
        let (Some(root), true) = (world.root_of(slot), world.pool) else {
            return Err(INVALID_CAPABILITY);
        };
        if world.roots[root as usize].asid.is_some() {
            return Err(INVALID_CAPABILITY);
        }
        // There are as many as roots, and those that are gone have given theirs back.
        let free = |asid: &usize| world.asids[*asid].is_none();
        let asid = match asid {
            Some(asid) => Some(asid.into()).filter(free),
            None => (0..ROOTS).find(free),
        };
        let asid = asid.ok_or(DELETE_FIRST)?;
        world.asids[asid] = Some(root);
        world.roots[root as usize].asid = Some(asid as Asid);
        Ok(())
    }

    /// The root that a cap lets map in, with its ASID; as the decoders look.
    fn root_to_map_in(&self, slot: Slot, checked: bool) -> Result<(u8, Asid), u8> {
        let world = &*self.world;
        let root = world.root_of(slot).ok_or(INVALID_CAPABILITY)?;
        let asid = world.roots[root as usize].asid.ok_or(INVALID_CAPABILITY)?;
        if self.is_switch_only(slot) && self.kernel.has(SwitchOnlyRootsTakeNoMappings) {
            return Err(INVALID_CAPABILITY);
        }
        match world.find(asid) {
            _ if !checked => Ok((root, asid)),
            None => Err(FAILED_LOOKUP),
            Some(found) if found == root => Ok((root, asid)),
            Some(_) => Err(INVALID_CAPABILITY),
        }
    }

    fn is_switch_only(&self, slot: Slot) -> bool {
        matches!(slot, Slot::Client(client)
            if self.world.clients[client as usize].is_some_and(|cap| cap.switch_only))
    }

    /// The PDPT below which a walk that changes tables goes on.
    fn lookup_pdpt(&self, root: u8, place: u8) -> Option<u8> {
        let entry = self.world.roots[root as usize].entries[place as usize]?;
        (!entry.attachment || !self.kernel.has(WalksStopAtAttachments)).then_some(entry.pdpt)
    }

    fn lookup_directory(&self, root: u8, place: u8) -> Option<()> {
        let pdpt = self.lookup_pdpt(root, place)?;
        (self.world.pdpts[pdpt as usize].entry == Entry::Table).then_some(())
    }

    fn lookup_table(&self, root: u8, place: u8) -> Option<()> {
        self.lookup_directory(root, place)?;
        (self.world.directory.entry == Entry::Table).then_some(())
    }

    /// The entry that a cap of a table or frame takes.
    fn entry(&mut self, slot: Slot, root: u8, place: u8) -> Option<&mut Entry> {
        match slot {
            Slot::Directory(_) | Slot::Frame(HUGE, _) => {
                let pdpt = self.lookup_pdpt(root, place)?;
                Some(&mut self.world.pdpts[pdpt as usize].entry)
            }
            Slot::Table(_) | Slot::Frame(LARGE, _) => {
                self.lookup_directory(root, place)?;
                Some(&mut self.world.directory.entry)
            }
            _ => {
                self.lookup_table(root, place)?;
                Some(&mut self.world.table.entry)
            }
        }
    }

    fn map_table(&mut self, slot: Slot, root: Slot, place: u8) -> Result<(), u8> {
        let checked = self.kernel.has(TablesAreMappedUnderTheirRootsAsid);
        match slot {
            Slot::Pdpt(pdpt) => {
                let home = self.world.pdpts[pdpt as usize].home;
                if home != Some(None) {
                    return Err(INVALID_CAPABILITY);
                }
                let (root, asid) = self.root_to_map_in(root, checked)?;
                self.enter(
                    root,
                    place,
                    RootEntry {
                        pdpt,
                        attachment: false,
                        write: true,
                    },
                )?;
                self.world.pdpts[pdpt as usize].home = Some(Some((asid, place)));
            }
            Slot::Copy(number) => {
                let copy = self.world.copies[number as usize].ok_or(INVALID_CAPABILITY)?;
                if copy.asid.is_some() {
                    return Err(INVALID_CAPABILITY);
                }
                let (root, asid) = self.root_to_map_in(root, checked)?;
                if copy.attachment
                    && copy.place != place
                    && self.kernel.has(AttachmentsLieAtTheirHomesAddress)
                {
                    return Err(INVALID_ARGUMENT);
                }
                let PdptCopy {
                    pdpt,
                    attachment,
                    write,
                    ..
                } = copy;
                self.enter(
                    root,
                    place,
                    RootEntry {
                        pdpt,
                        attachment,
                        write,
                    },
                )?;
                let asid = Some(asid);
                self.world.copies[number as usize] = Some(PdptCopy {
                    place,
                    asid,
                    ..copy
                });
            }
            Slot::Directory(twin) | Slot::Table(twin) => {
                if self.tables(slot).caps[twin as usize] != Some(None) {
                    return Err(INVALID_CAPABILITY);
                }
                // Page tables were always checked.
                let checked = checked || matches!(slot, Slot::Table(_));
                let (root, asid) = self.root_to_map_in(root, checked)?;
                let entry = self.entry(slot, root, place).ok_or(FAILED_LOOKUP)?;
                if *entry != Entry::Empty {
                    return Err(DELETE_FIRST);
                }
                *entry = Entry::Table;
                self.tables(slot).caps[twin as usize] = Some(Some((asid, place)));
            }
            _ => unreachable!("no table"),
        }
        Ok(())
    }

    fn tables(&mut self, slot: Slot) -> &mut TableCaps {
        match slot {
            Slot::Directory(_) => &mut self.world.directory,
            _ => &mut self.world.table,
        }
    }

    fn enter(&mut self, root: u8, place: u8, entry: RootEntry) -> Result<(), u8> {
        let old = &mut self.world.roots[root as usize].entries[place as usize];
        if old.is_some() {
            return Err(DELETE_FIRST);
        }
        *old = Some(entry);
        Ok(())
    }

    fn map_frame(&mut self, slot: Slot, root: Slot, place: u8, write: bool) -> Result<(), u8> {
        let cap = self.frame_cap(slot).ok_or(INVALID_CAPABILITY)?;
        if cap.mapped.is_some() {
            return Err(INVALID_CAPABILITY);
        }
        let (root, asid) = self.root_to_map_in(root, true)?;
        let entry = self.entry(slot, root, place).ok_or(FAILED_LOOKUP)?;
        if *entry != Entry::Empty {
            return Err(DELETE_FIRST);
        }
        *entry = Entry::Frame {
            frame: frame_of(slot),
            write: write && cap.write,
        };
        self.set_mapped(slot, Some((asid, place)));
        Ok(())
    }

    fn remap(&mut self, slot: Slot, root: Slot, write: bool) -> Result<(), u8> {
        let cap = self.frame_cap(slot).ok_or(INVALID_CAPABILITY)?;
        let (asid, place) = cap.mapped.ok_or(ILLEGAL_OPERATION)?;
        let (_, given) = self.root_to_map_in(root, false)?;
        if asid != given {
            return Err(INVALID_CAPABILITY);
        }
        let (root, _) = self.root_to_map_in(root, true)?;
        let entry = self.entry(slot, root, place).ok_or(FAILED_LOOKUP)?;
        if frame_of(slot) >= LARGE && *entry == Entry::Table {
            return Err(DELETE_FIRST);
        }
        *entry = Entry::Frame {
            frame: frame_of(slot),
            write: write && cap.write,
        };
        self.flush_page(place, root, RemappedPagesAreFlushed);
        Ok(())
    }

    fn frame_cap(&self, slot: Slot) -> Option<FrameCap> {
        match slot {
            Slot::Frame(frame, twin) => self.world.frames[frame as usize][twin as usize],
            _ => None,
        }
    }

    fn set_mapped(&mut self, slot: Slot, mapped: Mapped) {
        if let Slot::Frame(frame, twin) = slot
            && let Some(cap) = &mut self.world.frames[frame as usize][twin as usize]
        {
            cap.mapped = mapped;
        }
    }

    fn unmap(&mut self, slot: Slot) -> Result<(), u8> {
        if self.world.is_empty(slot) {
            return Err(INVALID_CAPABILITY);
        }
        match slot {
            Slot::Pdpt(pdpt) => {
                let alone = self.world.copies_of(pdpt).next().is_none();
                if !alone && (!self.kernel.extended || self.kernel.has(HomesStayWhileAttached)) {
                    return Err(REVOKE_FIRST);
                }
                self.finalise_home(pdpt);
                self.world.pdpts[pdpt as usize].home = Some(None);
                if !self.kernel.extended {
                    self.world.pdpts[pdpt as usize].entry = Entry::Empty;
                }
            }
            Slot::Copy(number) => {
                let copy = self.world.copies[number as usize].ok_or(INVALID_CAPABILITY)?;
                if !copy.attachment {
                    let others = self.world.copies_of(copy.pdpt).count() > 1
                        || self.world.pdpts[copy.pdpt as usize].home.is_some();
                    if others {
                        return Err(REVOKE_FIRST);
                    }
                }
                self.finalise_copy(copy);
                if !copy.attachment && copy.asid.is_some() {
                    self.world.pdpts[copy.pdpt as usize].entry = Entry::Empty;
                }
                self.world.copies[number as usize] = Some(PdptCopy { asid: None, ..copy });
            }
            Slot::Directory(twin) | Slot::Table(twin) => {
                if self.tables(slot).caps.iter().flatten().count() > 1 {
                    return Err(REVOKE_FIRST);
                }
                if let Some(Some(mapped)) = self.tables(slot).caps[twin as usize] {
                    self.unmap_table(slot, mapped);
                    self.tables(slot).entry = Entry::Empty;
                    self.tables(slot).caps[twin as usize] = Some(None);
                }
            }
            Slot::Frame(..) => {
                self.unmap_page(slot);
                self.set_mapped(slot, None);
            }
            _ => unreachable!("nothing that is mapped"),
        }
        Ok(())
    }

    fn copy(&mut self, from: Slot, to: Slot, write: bool) -> Result<(), u8> {
        let extended = self.kernel.extended;
        let kernel = self.kernel;
        let world = &mut *self.world;
        if !world.is_empty(to) {
            return Err(DELETE_FIRST);
        }
        if world.is_empty(from) {
            return Err(FAILED_LOOKUP);
        }
        match (from, to) {
            (Slot::Root(_) | Slot::Client(_), Slot::Client(client)) => {
                let root = world.root_of(from).ok_or(FAILED_LOOKUP)?;
                world.roots[root as usize].asid.ok_or(ILLEGAL_OPERATION)?;
                let already = match from {
                    Slot::Client(from) => {
                        world.clients[from as usize].is_some_and(|cap| cap.switch_only)
                    }
                    _ => false,
                };
                let switch_only = extended && (already || !write);
                world.clients[client as usize] = Some(ClientCap { root, switch_only });
            }
            (Slot::Pdpt(_) | Slot::Copy(_), Slot::Copy(number)) => {
                let source = match from {
                    Slot::Pdpt(pdpt) => {
                        let home = world.pdpts[pdpt as usize].home;
                        let (asid, place) = home.flatten().ok_or(ILLEGAL_OPERATION)?;
                        PdptCopy {
                            pdpt,
                            place,
                            attachment: false,
                            write: true,
                            may_write: true,
                            asid: Some(asid),
                        }
                    }
                    Slot::Copy(from) => world.copies[from as usize].ok_or(FAILED_LOOKUP)?,
                    _ => unreachable!(),
                };
                if source.asid.is_none() && !source.attachment {
                    return Err(ILLEGAL_OPERATION);
                }
                let stays = kernel.has(ReadOnlyCopiesStaySo);
                world.copies[number as usize] = Some(if extended {
                    PdptCopy {
                        attachment: kernel.has(CopiesAreNoHomes),
                        write: write && (source.write || !stays),
                        may_write: write && source.may_write,
                        asid: None,
                        ..source
                    }
                } else {
                    source
                });
            }
            (Slot::Directory(_), Slot::Directory(twin)) | (Slot::Table(_), Slot::Table(twin)) => {
                let caps = match from {
                    Slot::Directory(_) => &mut world.directory.caps,
                    _ => &mut world.table.caps,
                };
                let mapped = caps[1 - twin as usize].flatten().ok_or(ILLEGAL_OPERATION)?;
                caps[twin as usize] = Some(Some(mapped));
            }
            (Slot::Frame(frame, from), Slot::Frame(_, twin)) => {
                let caps = &mut world.frames[frame as usize];
                let write = write && caps[from as usize].is_some_and(|cap| cap.write);
                caps[twin as usize] = Some(FrameCap {
                    write,
                    mapped: None,
                });
            }
            _ => unreachable!("copies go where their kind goes"),
        }
        Ok(())
    }

    fn switch(&mut self, slot: Slot) -> Result<(), u8> {
        let world = &*self.world;
        let root = world.root_of(slot);
        let asid = root.and_then(|root| world.roots[root as usize].asid);
        match (root, asid) {
            (Some(root), Some(asid)) if world.find(asid) == root.into() => {
                self.switch_to(Space::Root(root))
            }
            _ if self.kernel.extended => Err(INVALID_CAPABILITY),
            // `TCB_SetSpace` takes any root that was given an ASID.
            (Some(root), Some(_)) => self.switch_to(Space::Root(root)),
            _ => Err(ILLEGAL_OPERATION),
        }
    }

    /// On the stock kernel a thread sets its root, which is never refused.
    fn switch_to(&mut self, space: Space) -> Result<(), u8> {
        if let Space::Root(old) = self.world.thread
            && self.kernel.extended
            && space != self.world.thread
            && self.world.is_last_cap_of(old)
        {
            return Err(REVOKE_FIRST);
        }
        if space != self.world.thread || !self.kernel.extended {
            self.leave(space);
        }
        Ok(())
    }

    /// The thread's slot gets another cap.
    fn leave(&mut self, space: Space) {
        let old = std::mem::replace(&mut self.world.thread, Space::None);
        if let Space::Root(old) = old
            && !self.world.root_lives(old)
            && space != Space::Root(old)
        {
            self.root_gone(old);
        }
        self.world.thread = space;
        self.load_root();
    }

    // Caps that go.

    fn delete(&mut self, slot: Slot) {
        if self.world.is_empty(slot) {
            return;
        }
        match slot {
            Slot::Pool => self.delete_pool(),
            Slot::Root(root) => {
                self.world.roots[root as usize].original = false;
                self.root_cap_gone(root);
            }
            Slot::Client(client) => {
                if let Some(cap) = self.world.clients[client as usize].take() {
                    self.root_cap_gone(cap.root);
                }
            }
            Slot::Pdpt(pdpt) => {
                let alone = self.world.copies_of(pdpt).next().is_none();
                if self.kernel.extended && self.kernel.has(EveryPdptCapUnmapsItself) || alone {
                    self.finalise_home(pdpt);
                }
                self.world.pdpts[pdpt as usize].home = None;
            }
            Slot::Copy(number) => {
                let Some(copy) = self.world.copies[number as usize].take() else {
                    return;
                };
                let alone = self.world.pdpts[copy.pdpt as usize].home.is_none()
                    && self.world.copies_of(copy.pdpt).next().is_none();
                if self.kernel.extended && self.kernel.has(EveryPdptCapUnmapsItself) || alone {
                    self.finalise_copy(copy);
                }
            }
            Slot::Directory(twin) | Slot::Table(twin) => {
                let cap = self.tables(slot).caps[twin as usize].take();
                let last = self.tables(slot).caps.iter().all(Option::is_none);
                if let Some(Some(mapped)) = cap
                    && last
                {
                    self.unmap_table(slot, mapped);
                }
            }
            Slot::Frame(frame, twin) => {
                let last = self.world.frames[frame as usize].iter().flatten().count() == 1;
                if last || self.kernel.has(FrameCapsUnmapThemselves) {
                    self.unmap_page(slot);
                }
                self.world.frames[frame as usize][twin as usize] = None;
            }
        }
    }

    /// Deletes what is derived from a cap: only those that Retype made have such.
    fn revoke(&mut self, slot: Slot) {
        if self.world.is_empty(slot) {
            return;
        }
        match slot {
            Slot::Root(root) => {
                for client in 0..ROOTS as u8 {
                    if self.world.clients[client as usize].is_some_and(|cap| cap.root == root) {
                        self.delete(Slot::Client(client));
                    }
                }
                self.take_from_thread(root);
            }
            Slot::Pdpt(pdpt) => self.delete_copies(pdpt),
            Slot::Directory(Original) => self.delete(Slot::Directory(Twin::Copy)),
            Slot::Table(Original) => self.delete(Slot::Table(Twin::Copy)),
            Slot::Frame(frame, Original) => self.delete(Slot::Frame(frame, Twin::Copy)),
            _ => {}
        }
    }

    /// Deletes all caps of an object. Of those of one kind the order does not matter.
    fn revoke_memory(&mut self, object: Slot) {
        self.delete(object);
        match object {
            Slot::Root(root) => {
                for client in 0..ROOTS as u8 {
                    if self.world.clients[client as usize].is_some_and(|cap| cap.root == root) {
                        self.delete(Slot::Client(client));
                    }
                }
                self.take_from_thread(root);
            }
            Slot::Pdpt(pdpt) => self.delete_copies(pdpt),
            Slot::Directory(_) => self.delete(Slot::Directory(Twin::Copy)),
            Slot::Table(_) => self.delete(Slot::Table(Twin::Copy)),
            Slot::Frame(frame, _) => self.delete(Slot::Frame(frame, Twin::Copy)),
            _ => {}
        }
    }

    fn delete_copies(&mut self, pdpt: u8) {
        for number in 0..COPIES as u8 {
            if self.world.copies[number as usize].is_some_and(|copy| copy.pdpt == pdpt) {
                self.delete(Slot::Copy(number));
            }
        }
    }

    fn take_from_thread(&mut self, root: u8) {
        if self.world.thread == Space::Root(root) {
            self.world.thread = Space::None;
            self.root_cap_gone(root);
        }
    }

    fn root_cap_gone(&mut self, root: u8) {
        if !self.world.root_lives(root) {
            self.root_gone(root);
        }
    }

    fn root_gone(&mut self, root: u8) {
        if let Some(asid) = self.world.roots[root as usize].asid
            && self.world.find(asid) == Some(root)
        {
            self.clear_user_entries(root);
            self.world.asids[asid as usize] = None;
            if self.kernel.has(RootIsLoadedAgainWhenItsAsidGoes) {
                self.load_root();
            }
            self.flush_asid(asid);
        }
    }

    fn delete_pool(&mut self) {
        for asid in 0..ROOTS {
            if let Some(root) = self.world.asids[asid] {
                self.clear_user_entries(root);
                self.flush_asid(asid as Asid);
            }
        }
        self.world.pool = false;
        self.world.asids = [None; ROOTS];
        if self.kernel.has(RootIsLoadedAgainWhenItsAsidGoes) {
            self.load_root();
        }
    }

    fn clear_user_entries(&mut self, root: u8) {
        if !self.kernel.has(RootsWithoutAsidAreEmpty) {
            return;
        }
        for place in 0..PLACES {
            let entry = self.world.roots[root as usize].entries[place].take();
            if let Some(entry) = entry
                && self.kernel.extended
                && !entry.attachment
                && self.kernel.has(PdptIsClearedWithItsHomesRoot)
            {
                self.world.pdpts[entry.pdpt as usize].entry = Entry::Empty;
            }
        }
        if self.kernel.extended && self.kernel.has(RootsAreFlushedEverywhere) {
            self.flush_all();
        }
    }

    fn finalise_home(&mut self, pdpt: u8) {
        if let Some(Some((asid, place))) = self.world.pdpts[pdpt as usize].home {
            self.unmap_pdpt(pdpt, asid, place, false);
        }
    }

    fn finalise_copy(&mut self, copy: PdptCopy) {
        if let Some(asid) = copy.asid {
            self.unmap_pdpt(copy.pdpt, asid, copy.place, copy.attachment);
        }
    }

    fn unmap_pdpt(&mut self, pdpt: u8, asid: Asid, place: u8, attachment: bool) {
        let mut found = false;
        if let Some(root) = self.world.find(asid) {
            let entry = &mut self.world.roots[root as usize].entries[place as usize];
            found = entry.is_some_and(|entry| entry.pdpt == pdpt);
            if found {
                *entry = None;
            }
        }
        if self.kernel.extended {
            if !attachment && self.kernel.has(PdptIsClearedWithItsHome) {
                self.world.pdpts[pdpt as usize].entry = Entry::Empty;
            }
            if self.kernel.has(PdptsAreFlushed) {
                self.flush_all();
            }
        } else if found {
            self.flush_asid(asid);
        }
    }

    fn unmap_table(&mut self, slot: Slot, (asid, place): (Asid, u8)) {
        let Some(root) = self.world.find(asid) else {
            return;
        };
        let Some(entry) = self.entry(slot, root, place) else {
            return;
        };
        if *entry != Entry::Table {
            return;
        }
        *entry = Entry::Empty;
        let measure = match slot {
            Slot::Directory(_) => DirectoriesAreFlushed,
            _ => TablesAreFlushed,
        };
        if self.kernel.has(measure) {
            self.flush_all();
        }
    }

    fn unmap_page(&mut self, slot: Slot) {
        let Some((asid, place)) = self.frame_cap(slot).and_then(|cap| cap.mapped) else {
            return;
        };
        let Some(root) = self.world.find(asid) else {
            return;
        };
        let Some(entry) = self.entry(slot, root, place) else {
            return;
        };
        if !matches!(*entry, Entry::Frame { frame, .. } if frame == frame_of(slot)) {
            return;
        }
        *entry = Entry::Empty;
        self.flush_page(place, root, PagesAreFlushedInEveryRoot);
    }

    // The processor.

    fn load_root(&mut self) {
        let loaded = self.world.thread_root();
        let world = &mut *self.world;
        if loaded != world.loaded && !self.kernel.tags {
            world.caches = [[Line::default(); PLACES]; ROOTS];
        }
        world.loaded = loaded;
    }

    /// With tags everything is dropped; without, one address, and what is remembered of
    /// tables. Without the measure nothing is, or as in the released kernel only if the root
    /// where the page was mapped is loaded.
    fn flush_page(&mut self, place: u8, root: u8, measure: Measure) {
        if !self.kernel.has(measure) {
            let own =
                measure == PagesAreFlushedInEveryRoot && self.world.loaded == Space::Root(root);
            if !own {
                return;
            }
        }
        if self.kernel.tags {
            return self.flush_all();
        }
        for (at, line) in self.world.caches[0].iter_mut().enumerate() {
            let page = line.page.filter(|_| at != place as usize);
            *line = Line {
                page,
                ..Line::default()
            };
        }
    }

    fn flush_asid(&mut self, asid: Asid) {
        let tag = if self.kernel.tags { asid as usize } else { 0 };
        self.world.caches[tag] = [Line::default(); PLACES];
    }

    fn flush_all(&mut self) {
        self.world.caches = [[Line::default(); PLACES]; ROOTS];
    }
}

impl World {
    fn root_of(&self, slot: Slot) -> Option<u8> {
        match slot {
            Slot::Root(root) => self.roots[root as usize].original.then_some(root),
            Slot::Client(client) => self.clients[client as usize].map(|cap| cap.root),
            _ => None,
        }
    }

    /// Whether the thread's own is the last cap of the root that it is in.
    pub fn is_last_cap_of(&self, root: u8) -> bool {
        let without = World {
            thread: Space::None,
            ..*self
        };
        !without.root_lives(root)
    }
}

fn frame_of(slot: Slot) -> u8 {
    match slot {
        Slot::Frame(frame, _) => frame,
        _ => unreachable!("no frame"),
    }
}
