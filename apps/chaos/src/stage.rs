// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where victims do one thing again and again until they are killed: a VAS with a segment in
//! which they say what they are about to do, and another VAS to go into.

use common::segment_memory::{load, store};
use protocol::address_map::{GLOBAL, SLOT_BYTES};

/// The VAS that victims mostly run in, and its segment.
pub const STAGE: &str = "stage";
/// The VAS that they go into, and its segment. It has the stage's segment too.
pub const SCENE: &str = "scene";
/// A segment of single attachments.
pub const LOCAL: &str = "local";
/// A segment that is in nothing.
pub const SPARE: &str = "spare";
/// What victims make has this name, VAS or segment.
pub const NEW: &str = "new";

/// First address of the stage's segment.
pub const STAGE_BASE: u64 = 100 * SLOT_BYTES;
/// First address of the scene's segment.
pub const SCENE_BASE: u64 = GLOBAL.start;
/// Size of each segment here, in bytes.
pub const SIZE: u64 = 4 * 4096;

const PHASE: u64 = STAGE_BASE;
const TURNS: u64 = STAGE_BASE + 8;
/// Changes as long as the bystander lives.
pub const BYSTANDER: u64 = STAGE_BASE + 16;
/// Not 0 once sleepers shall end.
pub const WAKE: u64 = STAGE_BASE + 24;
/// Not 0 once the bystander shall end.
pub const CURTAIN: u64 = STAGE_BASE + 32;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// What a victim is about to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum Phase { $($(#[$doc])* $name = $number,)* }

        impl Phase {
            /// All of them.
            pub const ALL: &[Phase] = &[$(Phase::$name),*];
        }
    };
}

phases! {
    /// It has not begun.
    Start = 0;
    /// It is in a call of the service.
    Asking = 1;
    /// It has got the answer.
    Answered = 2;
    /// It is in the scene, in the middle of what it writes there.
    Inside = 3;
    /// It is in the space that it started in.
    Own = 4;
    /// It waits for another process to end.
    Waiting = 5;
    /// It ends.
    Leaving = 6;
}

/// Says what comes next. Only where the stage's segment is.
pub fn enter(phase: Phase) {
    store(PHASE, phase as u64);
}

/// What the victim said last.
pub fn phase() -> Option<Phase> {
    let number = load(PHASE);
    let mut all = Phase::ALL.iter().copied();
    all.find(|&phase| phase as u64 == number)
}

/// One turn is done.
pub fn turn() {
    store(TURNS, turns() + 1);
}

/// How many turns the victim has done.
pub fn turns() -> u64 {
    load(TURNS)
}

/// Makes ready for the next victim.
pub fn reset() {
    store(TURNS, 0);
    enter(Phase::Start);
}

macro_rules! deeds {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// What a victim does again and again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Deed { $($(#[$doc])* $name,)* }

        impl Deed {
            /// All of them.
            pub const ALL: &[Deed] = &[$(Deed::$name),*];
        }
    };
}

deeds! {
    /// Makes a VAS and deletes it.
    VasCreateAndDelete;
    /// Looks a VAS and a segment up.
    Find;
    /// Attaches and detaches.
    VasAttachAndDetach;
    /// Goes into the scene, writes there, goes home, and comes back.
    VasSwitch;
    /// Clones a VAS and deletes the clone.
    VasClone;
    /// Changes a VAS.
    VasCtl;
    /// Names a root, asks for it and takes it away.
    VasRoots;
    /// Makes a segment and frees it.
    SegAllocAndFree;
    /// Adds a segment to a VAS and removes it.
    SegAttachAndDetach;
    /// Adds a segment to an attachment and removes it.
    SegAttachAndDetachLocal;
    /// Clones a segment, in several requests, and frees the clone.
    SegClone;
    /// Makes a segment, makes it larger, and frees it.
    SegGrow;
    /// Changes a segment.
    SegCtl;
    /// Has weaker handles made.
    Restrict;
    /// Asks what there is.
    Ask;
    /// Makes a VAS and a segment that die with it.
    Mortal;
    /// Starts a process and waits for it.
    Wait;
}
