// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the root task `guest/vspace.rs` is told to do, and must see.
//!
//! A script is made of records of [`RECORD`] bytes: the operation (kind, slot, slot, place,
//! write), the answer, the root that the thread is in afterwards, what is to be seen at each
//! place of each root, roots without an ASID before, caps to go into each root by, whether
//! the thread may leave its root, whether it is to look, the operation's number, and whether
//! it is put back into its own root. A record that begins a sequence says how many records
//! after it prepare it; if it says none, the last preparation is done again.

use super::world::Operation::{self, *};
use super::world::{Kernel, PLACES, ROOTS, Slot, Space, World};

const RECORD: usize = 24;
const NONE: u8 = 0xff;
const RESET: u8 = 255;

/// Sequences of operations, each on a new world.
pub struct Script {
    kernel: Kernel,
    bytes: Vec<u8>,
    preparation: Vec<Operation>,
    prepared: World,
    pub sequences: Vec<Vec<Operation>>,
}

impl Script {
    /// An empty one, for a kernel that must do as the model does.
    pub fn new(kernel: Kernel) -> Self {
        Script {
            kernel,
            bytes: Vec::new(),
            preparation: Vec::new(),
            prepared: World::new(),
            sequences: Vec::new(),
        }
    }

    /// Adds a sequence, after a preparation in which nothing is looked at.
    pub fn add(&mut self, preparation: &[Operation], operations: &[Operation]) {
        let mut begin = [0; RECORD];
        begin[0] = RESET;
        let again = !preparation.is_empty() && preparation == self.preparation;
        if !again {
            begin[1..3].copy_from_slice(&(preparation.len() as u16).to_le_bytes());
        }
        self.bytes.extend(begin);
        if !again {
            self.preparation = preparation.to_vec();
            self.prepared = World::new();
            let mut world = self.prepared;
            for (number, &operation) in preparation.iter().enumerate() {
                self.record(&mut world, number, operation, false);
            }
            self.prepared = world;
        }
        let mut world = self.prepared;
        for (number, &operation) in operations.iter().enumerate() {
            self.record(&mut world, preparation.len() + number, operation, true);
        }
        self.sequences.push([preparation, operations].concat());
    }

    /// Makes one record wrong: the last, of which it says that another frame is seen.
    pub fn falsify(&mut self) {
        let last = self.bytes.len() - RECORD;
        for sight in &mut self.bytes[last + 7..last + 13] {
            *sight ^= 1;
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn record(&mut self, world: &mut World, number: usize, operation: Operation, look: bool) {
        let mut record = [0; RECORD];
        let slots = |one: Slot, other: Option<Slot>| (one.number(), other.map_or(0, Slot::number));
        let (kind, (first, second), place, write) = match operation {
            Make(object) => (0, slots(object, None), 0, false),
            Assign(root, _) => (1, slots(root, None), 0, false),
            Map { table, root, place } => (2, slots(table, Some(root)), place, false),
            MapFrame {
                frame,
                root,
                place,
                write,
            } => (3, slots(frame, Some(root)), place, write),
            Remap { frame, root, write } => (4, slots(frame, Some(root)), 0, write),
            Unmap(slot) => (5, slots(slot, None), 0, false),
            Copy { from, to, write } => (6, slots(from, Some(to)), 0, write),
            Delete(slot) => (7, slots(slot, None), 0, false),
            Revoke(slot) => (8, slots(slot, None), 0, false),
            RevokeMemory(object) => (9, slots(object, None), 0, false),
            Switch(root) => (10, slots(root, None), 0, false),
            SwitchBack => (11, (0, 0), 0, false),
        };
        record[..5].copy_from_slice(&[kind, first, second, place, write.into()]);
        for root in (0..ROOTS as u8).filter(|&root| !world.is_usable(root)) {
            record[13] |= 1 << root;
        }

        record[5] = world.step(self.kernel, operation);
        let evicted = world.is_evicted();
        world.reschedule(self.kernel);

        let inside = match world.thread() {
            Space::Root(root) => Some(root),
            Space::Own | Space::None => None,
        };
        record[6] = inside.map_or(0, |root| root + 1);
        for root in 0..ROOTS as u8 {
            let way = world.way_into(root);
            record[14 + root as usize] = way.map_or(NONE, Slot::number);
            for place in 0..PLACES as u8 {
                let sight = world.sight(root, place);
                let seen = sight.map_or(0, |(frame, write)| (frame + 1) | ((write as u8) << 7));
                let known = way.is_some() || inside == Some(root);
                record[7 + root as usize * PLACES + place as usize] =
                    if known { seen } else { NONE };
            }
        }
        record[17] = inside.is_none_or(|root| !world.is_last_cap_of(root)).into();
        record[18] = look.into();
        record[19..21].copy_from_slice(&(number as u16).to_le_bytes());
        record[21] = evicted.into();
        self.bytes.extend(record);
    }
}
