// SPDX-License-Identifier: MIT OR Apache-2.0

//! Any sequence of operations of several processes, against the specification.

use std::collections::BTreeMap;

use model::{Client, Number, PRINCIPALS, PROCESSES, Played, Player, Touch, scan};
use proptest::prelude::*;
use protocol::message::Request;
use protocol::{AttachmentId, Error};
use vas_server::fake::{Fault, Held};

use crate::support::*;

/// Processes of a server on the fake kernel.
pub struct Processes {
    pub world: World,
    processes: Vec<Process>,
    caps: BTreeMap<(usize, Number), Held>,
}

impl Processes {
    pub fn new(slots: u32, untyped_bits: &[u8]) -> Self {
        let mut world = World::with(slots, untyped_bits);
        Processes {
            processes: (0..PROCESSES).map(|one| begin(&mut world, one)).collect(),
            world,
            caps: BTreeMap::new(),
        }
    }

    fn touch_in(&mut self, root: Held, touch: Touch) -> Result<u64, Fault> {
        let fake = self.world.fake();
        match touch {
            Touch::Load(address) => fake.load(root, address),
            Touch::Store(address, value) => fake.store(root, address, value).map(|()| value),
            Touch::Scan { base, size, page } => {
                scan(base, size, page, |address| fake.load(root, address))
            }
        }
    }

    /// Every root maps exactly what the specification says, the same frames for the same pages,
    /// with the words in them.
    fn compare(&mut self, player: &Player) {
        let specification = player.specification();
        let statistics = self.world.statistics();
        assert_eq!(statistics.vases as usize, specification.vases.len());
        assert_eq!(statistics.segments as usize, specification.segments.len());
        let attachments = &specification.attachments;
        assert_eq!(statistics.attachments as usize, attachments.len());
        let used = statistics.asids_total - statistics.asids_free;
        // Where tables are shared, VASes and segments with slots of their own have roots too.
        let own_slots = specification.segments.values();
        let own_slots = own_slots.filter(|segment| segment.own_slots).count();
        let masters = MASTER as usize * (specification.vases.len() + own_slots);
        assert_eq!(used as usize, attachments.len() + masters);

        let mut frames: BTreeMap<(Number, u64), u64> = BTreeMap::new();
        let mut owners: BTreeMap<u64, (Number, u64)> = BTreeMap::new();
        for (&number, attachment) in attachments {
            let root = self.caps[&(attachment.process, number)];
            let fake = self.world.fake();
            let mut pages: BTreeMap<u64, _> = fake
                .pages(root)
                .into_iter()
                .filter(|&(address, ..)| address >= BASE)
                .map(|(address, frame, size, access)| (address, (frame, size, access)))
                .collect();
            for page in specification.pages(number) {
                let (frame, size, access) = pages.remove(&page.address).expect("it is mapped");
                assert_eq!((size, access), (page.size, page.access));
                let place = (page.segment, page.address);
                assert_eq!(*frames.entry(place).or_insert(frame), frame);
                assert_eq!(*owners.entry(frame).or_insert(place), place);
                for address in [page.address, page.address + size.bytes() - 8] {
                    let word = specification.word(page.segment, address);
                    assert_eq!(fake.load(root, address), Ok(word));
                }
            }
            assert!(
                pages.is_empty(),
                "there is more than the specification says"
            );
        }
    }
}

fn begin(world: &mut World, process: usize) -> Process {
    let (user, groups) = PRINCIPALS[process];
    world.process(user, groups)
}

impl Client for Processes {
    fn ask<R: Request>(
        &mut self,
        process: usize,
        request: &R,
        handles: &[Number],
        new: Number,
    ) -> Result<R::Reply, Error> {
        let before = self.world.statistics();
        let caps = handles.iter().map(|&number| self.caps[&(process, number)]);
        let caps: Vec<Held> = caps.collect();
        let caller = self.processes[process].clone();
        let answer = self.world.call(&caller, request, &caps);
        if answer.is_err() {
            assert_eq!(self.world.statistics(), before);
        }
        let (reply, cap) = answer?;
        if let Some(cap) = cap {
            self.caps.insert((process, new), cap);
        }
        Ok(reply)
    }

    fn touch(
        &mut self,
        process: usize,
        (root, _): (Number, AttachmentId),
        touch: Touch,
        _: bool,
    ) -> Result<Option<u64>, Error> {
        let root = self.caps[&(process, root)];
        match self.touch_in(root, touch) {
            Ok(word) => Ok(Some(word)),
            Err(Fault::NoRoot) => Err(Error::StaleAttachment),
            Err(Fault::NotMapped | Fault::ReadOnly) => {
                self.restart(process);
                Ok(None)
            }
        }
    }

    fn pass(&mut self, from: usize, to: usize, handle: Number, new: Number) {
        let cap = self.caps[&(from, handle)];
        self.caps.insert((to, new), cap);
    }

    fn restart(&mut self, process: usize) {
        let ended = self.processes[process].clone();
        self.world.end(&ended);
        for cap in ended.memory {
            self.world.fake().revoke_and_drop(cap);
        }
        self.processes[process] = begin(&mut self.world, process);
    }
}

/// Plays a sequence on a machine, and has everything deleted.
pub fn play(
    player: &mut Player,
    slots: u32,
    untyped_bits: &[u8],
    words: &[u64],
    after_each: fn(&mut Processes, &Player),
) -> Vec<Played> {
    let mut processes = Processes::new(slots, untyped_bits);
    let before = processes.world.statistics();
    let caps = processes.world.fake().caps_of_objects();
    let mut played = Vec::new();
    for &word in words {
        let step = player.step(&mut processes, word);
        played.push(step.unwrap_or_else(|difference| panic!("{difference}")));
        after_each(&mut processes, player);
    }
    let ended = player.end(&mut processes);
    ended.unwrap_or_else(|difference| panic!("{difference}"));
    assert_eq!(processes.world.statistics(), before);
    assert_eq!(processes.world.fake().caps_of_objects(), caps);
    played
}

/// Which word is in which place matters, not what it is: a sequence is shrunk by leaving words
/// out.
fn sequence() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>().no_shrink(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_does_what_the_specification_says(words in sequence()) {
        play(&mut Player::new(), 20_000, &[33, 22], &words, Processes::compare);
    }

    #[test]
    fn any_sequence_of_operations_survives_want_of_slots(
        slots in 60..300u32,
        words in sequence(),
    ) {
        play(&mut Player::scarce(), slots, &[26, 14], &words, Processes::compare);
    }

    #[test]
    fn any_sequence_of_operations_survives_want_of_memory(
        bits in prop::collection::vec(12..18u8, 1..6),
        words in sequence(),
    ) {
        play(&mut Player::scarce(), 2000, &[&[12][..], &bits].concat(), &words, Processes::compare);
    }
}
