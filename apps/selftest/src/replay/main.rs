// SPDX-License-Identifier: MIT OR Apache-2.0

//! Plays the sequences of `model` on the real kernel, by processes of three users. Its arguments
//! are the first seed, the seed after the last, and how many steps each takes.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod processes;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use common::failure::check_equal;
use common::{Failure, Outcome};
use model::{Difference, Player, words};
use processes::Processes;

runtime::heap!(1 << 20);
runtime::main!(main);

fn main() -> Outcome {
    let arguments = runtime::start_info().arguments;
    let numbers: Result<Vec<u64>, _> = arguments.split_ascii_whitespace().map(str::parse).collect();
    let [first, end, steps] = numbers?[..] else {
        return Err(Failure::new("three numbers are needed"));
    };
    let mut processes = Processes::begin()?;
    let before = client_lib::settle()?;
    for seed in first..end {
        let answers = play(&mut processes, seed, steps)
            .map_err(|difference| Failure::new(format!("seed {seed}: {difference}")))?;
        check_equal("statistics", client_lib::settle()?, before.clone())?;
        runtime::println!("seed {seed}: answers {answers:016x}");
    }
    Ok(())
}

/// Plays the sequence of a seed. Answers a digest of all answers.
fn play(processes: &mut Processes, seed: u64, steps: u64) -> Result<u64, Box<Difference>> {
    let mut player = Player::new();
    for word in words(seed, steps) {
        player.step(processes, word)?;
    }
    player.end(processes)?;
    Ok(player.answers())
}
