// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fake kernel of the VAS server's tests against the model that the real kernel was
//! compared with: the same random sequences, the same things to be seen.

mod spaces;

use std::collections::BTreeMap;

use protocol::{Access, PageSize};
use spaces::random::random;
use spaces::scope::ALL;
use spaces::world::Operation::{self, *};
use spaces::world::{Kernel, LARGE, PLACES, ROOTS, Slot, World};
use vas_server::fake::Fake;
use vas_server::kernel::Slot as FakeSlot;
use vas_server::kernel::{Kernel as _, KernelError, Object, TableLevel};

/// Whether the server's kernel interface has it: it unmaps by deleting alone, and keeps its
/// pool for ever.
fn is_known(operation: &Operation) -> bool {
    match *operation {
        Unmap(_) | Remap { .. } | Switch(_) | SwitchBack => false,
        Delete(slot) | Revoke(slot) | RevokeMemory(slot) => slot != Slot::Pool,
        _ => true,
    }
}

/// The fake kernel, with the slots of the model in it.
struct Played {
    fake: Fake,
    first: u32,
    /// Where in memory each frame is, once it was seen.
    frames: BTreeMap<u8, u64>,
}

impl Played {
    fn new(kernel: Kernel) -> Self {
        let bits: Vec<u8> = Slot::all()
            .map(|slot| {
                if matches!(slot, Slot::Frame(LARGE, _)) {
                    21
                } else {
                    12
                }
            })
            .collect();
        let fake = Fake::new(64, &bits);
        let fake = if kernel.extended {
            fake.extended()
        } else {
            fake
        };
        let first = fake.free_slots().start;
        Played {
            fake,
            first,
            frames: BTreeMap::new(),
        }
    }

    fn slot(&self, slot: Slot) -> FakeSlot {
        FakeSlot(self.first + u32::from(slot.number()))
    }

    fn memory(&self, object: Slot) -> FakeSlot {
        self.fake.untypeds()[usize::from(object.number())].0
    }

    fn perform(&mut self, operation: Operation) -> Result<(), KernelError> {
        let address = |place: u8| (u64::from(place) + 1) << 39;
        let access = |write| {
            if write {
                Access::ReadWrite
            } else {
                Access::ReadOnly
            }
        };
        match operation {
            Make(Slot::Pool) => {
                let (memory, pool) = (self.memory(Slot::Pool), self.slot(Slot::Pool));
                self.fake.make_asid_pool(Fake::ASID_CONTROL, memory, pool)
            }
            Make(object) => {
                let (memory, slot) = (self.memory(object), self.slot(object));
                let kind = match object {
                    Slot::Root(_) => Object::Pml4,
                    Slot::Pdpt(_) => Object::Table(TableLevel::Pdpt),
                    Slot::Directory(_) => Object::Table(TableLevel::PageDirectory),
                    Slot::Table(_) => Object::Table(TableLevel::PageTable),
                    Slot::Frame(LARGE, _) => Object::Frame(PageSize::Large),
                    _ => Object::Frame(PageSize::Small),
                };
                self.fake.retype(memory, kind, slot, 1)
            }
            Assign(root, _) => self
                .fake
                .assign_asid(self.slot(Slot::Pool), self.slot(root)),
            Map { table, root, place } => {
                let level = match table {
                    Slot::Directory(_) => TableLevel::PageDirectory,
                    Slot::Table(_) => TableLevel::PageTable,
                    _ => TableLevel::Pdpt,
                };
                let (table, root) = (self.slot(table), self.slot(root));
                self.fake.map_table(table, level, root, address(place))
            }
            MapFrame {
                frame,
                root,
                place,
                write,
            } => {
                let (frame, root) = (self.slot(frame), self.slot(root));
                self.fake
                    .map_frame(frame, root, address(place), access(write))
            }
            Copy { from, to, write } => {
                let (from, to) = (self.slot(from), self.slot(to));
                self.fake.copy(from, to, access(write))
            }
            Delete(slot) => {
                let slot = self.slot(slot);
                self.fake.delete(slot);
                Ok(())
            }
            Revoke(slot) => {
                let slot = self.slot(slot);
                self.fake.revoke(slot);
                Ok(())
            }
            RevokeMemory(object) => {
                let memory = self.memory(object);
                self.fake.revoke(memory);
                Ok(())
            }
            _ => unreachable!("not in the server's interface"),
        }
    }

    /// Whether what is to be seen at a place is what the model says.
    fn shows(&mut self, world: &World, way: Slot, root: u8, place: u8) -> bool {
        let held = self.fake.transfer(self.slot(way)).unwrap();
        let seen = self.fake.translate(held, (u64::from(place) + 1) << 39);
        self.fake.drop_cap(held);
        match (seen, world.sight(root, place)) {
            (Err(_), None) => true,
            (Ok((at, access)), Some((frame, write))) => {
                let known = *self.frames.entry(frame).or_insert(at);
                let once = self.frames.values().filter(|&&other| other == at).count() == 1;
                known == at && once && (access == Access::ReadWrite) == write
            }
            _ => false,
        }
    }
}

#[test]
fn the_fake_kernel_does_as_the_model() {
    for kernel in [Kernel::EXTENDED, Kernel::STOCK] {
        let mut seen = 0;
        for seed in 0..20 {
            let (mut played, mut world) = (Played::new(kernel), World::new());
            let operations = random(kernel, ALL, seed, 1000, is_known);
            for operation in ALL.start().into_iter().chain(operations) {
                let before = format!("{kernel:?}, seed {seed}, {operation:?} in {world:?}");
                let answer = world.step(kernel, operation);
                assert_eq!(played.perform(operation).is_ok(), answer == 0, "{before}");
                for root in 0..ROOTS as u8 {
                    let Some(way) = world.way_into(root) else {
                        continue;
                    };
                    for place in 0..PLACES as u8 {
                        assert!(
                            played.shows(&world, way, root, place),
                            "{before}, root {root}"
                        );
                        seen += usize::from(world.sight(root, place).is_some());
                    }
                }
            }
        }
        assert!(seen > 1000, "hardly anything was ever mapped: {seen}");
    }
}
