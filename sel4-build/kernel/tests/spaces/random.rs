// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random sequences of operations.

use super::scope::Scope;
use super::world::Operation::{self, *};
use super::world::{Kernel, Slot, World};

/// A sequence, to follow the start of its scope, of operations that are wanted; most of them
/// the kernel does not refuse. The same for the same seed.
pub fn random(
    kernel: Kernel,
    scope: Scope,
    seed: u64,
    length: usize,
    wanted: fn(&Operation) -> bool,
) -> Vec<Operation> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut choices = scope.operations();
    choices.retain(wanted);
    for choice in &mut choices {
        if let Assign(root, _) = *choice {
            *choice = Assign(root, None);
        }
    }
    let mut world = World::new();
    for operation in scope.start() {
        world.step(kernel, operation);
    }
    let mut operations = Vec::new();
    while operations.len() < length {
        let operation = *random.choice(&choices).unwrap();
        let mut next = world;
        let answer = next.step(kernel, operation);
        next.reschedule(kernel);
        // What removes much is rare, so that there is something to remove.
        let rare = match operation {
            _ if answer != 0 || next == world => 20,
            Delete(Slot::Pool | Slot::Root(_)) | Revoke(_) | RevokeMemory(_) => 12,
            Delete(_) | Unmap(_) => 3,
            _ => 1,
        };
        if random.u32(0..rare) == 0 {
            operations.push(operation);
            world = next;
        }
    }
    operations
}
