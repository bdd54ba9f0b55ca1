// SPDX-License-Identifier: MIT OR Apache-2.0

//! Does one thing again and again until it is killed: `DEED SEED`, by the number of the deed.
//!
//! `sleep`: lives until it is woken. `stand-by`: lives until the curtain falls, and looks
//! whether anything disturbs it. `leave SPIN`: ends by itself after the loop. `watch`: waits
//! for a process that stays in the scene (`stay`) until it dies there.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::cell::RefCell;
use core::hint::black_box;

use chaos::record::{self, Stamp};
use chaos::stage::{self, Deed, Phase};
use client_lib::{
    Access, Attachment, Command, Error, Lifetime, Mode, PageSize, Rights, Segment, Space, Vas,
    vas_switch,
};
use common::calls::{detach, inside};
use common::failure::check_equal;
use common::segment_memory::{load, store};
use common::{Failure, Outcome};
use fastrand::Rng;
use protocol::process::ExitStatus;
use runtime::process;

runtime::heap!(64 << 10);
runtime::main!(main);

fn main() -> i32 {
    let info = runtime::start_info();
    let words: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    let outcome = match *words {
        ["sleep"] => sleep(),
        ["stand-by"] => stand_by(),
        ["watch"] => watch(),
        ["stay"] => stay(),
        ["leave", turns] => leave(turns),
        [deed, seed] => act(deed, seed),
        _ => Err(Failure::new("no such behaviour")),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            runtime::println!("victim {}: {failure}", info.arguments);
            chaos::WRONG
        }
    }
}

fn attach(vas: &str) -> Result<Attachment, Error> {
    client_lib::vas_attach(&client_lib::vas_find(vas)?, Access::ReadWrite)
}

/// Turns of a loop before a request and after it, at most. A time slice runs only while its process does, not
/// while the server works for it, so it must run about as long as that.
const MOST_TURNS: u64 = 10_000;

fn spin(turns: u64) {
    for turn in 0..turns {
        black_box(turn);
    }
}

fn sleep() -> Outcome {
    inside(&attach(stage::STAGE)?, || {
        while load(stage::WAKE) == 0 {
            sel4::yield_now();
        }
        Ok(())
    })
}

fn stand_by() -> Outcome {
    const OWN: u64 = stage::STAGE_BASE + 4096;
    let (stage, scene) = (attach(stage::STAGE)?, attach(stage::SCENE)?);
    let mut value = 0;
    loop {
        for space in [&stage, &scene] {
            let over = inside(space, || {
                check_equal("own word", load(OWN), value)?;
                value += 1;
                store(OWN, value);
                store(stage::BYSTANDER, value);
                Ok(load(stage::CURTAIN) != 0)
            })?;
            if over {
                return Ok(());
            }
        }
        sel4::yield_now();
    }
}

fn stay() -> Outcome {
    inside(&attach(stage::SCENE)?, || {
        stage::enter(Phase::Inside);
        loop {
            stage::turn();
            load(stage::SCENE_BASE);
            sel4::yield_now();
        }
    })
}

fn watch() -> Outcome {
    let child = process::spawn("victim", "stay")?;
    let status = process::wait(child)?;
    let address = stage::SCENE_BASE;
    check_equal("end", status, ExitStatus::Faulted { address })
}

fn leave(turns: &str) -> Outcome {
    let stage = attach(stage::STAGE)?;
    let turns = turns.parse::<u64>()?;
    vas_switch(stage.space())?;
    stage::enter(Phase::Leaving);
    spin(turns);
    runtime::exit(0)
}

/// What the deeds need.
struct Props {
    random: RefCell<Rng>,
    scene: Vas,
    inside: Attachment,
    other: Vas,
    segment: Segment,
    local: Segment,
    spare: Segment,
}

fn act(deed: &str, seed: &str) -> Outcome {
    let deed = Deed::ALL.get(deed.parse::<usize>()?);
    let deed = *deed.ok_or_else(|| Failure::new("no such deed"))?;
    let stage = attach(stage::STAGE)?;
    let props = Props {
        random: RefCell::new(Rng::with_seed(seed.parse()?)),
        scene: client_lib::vas_find(stage::SCENE)?,
        inside: attach(stage::SCENE)?,
        other: client_lib::vas_find(stage::SPARE)?,
        segment: client_lib::seg_find(stage::SCENE)?,
        local: client_lib::seg_find(stage::LOCAL)?,
        spare: client_lib::seg_find(stage::SPARE)?,
    };
    vas_switch(stage.space())?;
    for number in 1.. {
        props.act(deed, &stage, number)?;
        stage::turn();
    }
    Ok(())
}

impl Props {
    fn spin(&self) {
        spin(self.random.borrow_mut().u64(..MOST_TURNS));
    }

    /// A call of the service, said before and after.
    fn asked<T>(&self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
        stage::enter(Phase::Asking);
        self.spin();
        let answer = call();
        stage::enter(Phase::Answered);
        self.spin();
        Ok(answer?)
    }

    fn new_segment(&self) -> Result<Segment, Failure> {
        let small = Some(PageSize::Small);
        let base = stage::SCENE_BASE + (1 << 30);
        self.asked(|| client_lib::seg_alloc(stage::NEW, base, stage::SIZE, small, Mode(0o600)))
    }

    fn act(&self, deed: Deed, stage: &Attachment, number: u64) -> Outcome {
        let new_vas = || self.asked(|| client_lib::vas_create(stage::NEW, Mode(0o600)));
        match deed {
            Deed::VasCreateAndDelete => {
                let vas = new_vas()?;
                self.asked(|| client_lib::vas_delete(&vas))
            }
            Deed::Find => {
                self.asked(|| client_lib::vas_find(stage::SCENE))?;
                self.asked(|| client_lib::seg_find(stage::SCENE)).map(drop)
            }
            Deed::VasAttachAndDetach => {
                let attachment =
                    self.asked(|| client_lib::vas_attach(&self.scene, Access::ReadOnly))?;
                self.asked(|| detach(attachment))
            }
            Deed::VasSwitch => {
                vas_switch(self.inside.space())?;
                stage::enter(Phase::Inside);
                let records = stage::SIZE / record::BYTES;
                let address = stage::SCENE_BASE + number % records * record::BYTES;
                record::write(address, Stamp::new(1, number), |word| {
                    if word == number % 8 {
                        self.spin();
                    }
                });
                stage::enter(Phase::Own);
                vas_switch(Space::OWN)?;
                self.spin();
                vas_switch(stage.space())?;
                stage::enter(Phase::Answered);
                Ok(())
            }
            Deed::VasClone => {
                let (vas, mode) = (&self.scene, Mode(0o600));
                let clone =
                    self.asked(|| client_lib::vas_clone(vas, stage::NEW, mode, Access::ReadOnly))?;
                self.asked(|| client_lib::vas_delete(&clone))
            }
            Deed::VasCtl => {
                let lifetime = Command::Lifetime(Lifetime::Persistent);
                self.asked(|| client_lib::vas_ctl(&self.other, lifetime))?;
                self.asked(|| client_lib::vas_ctl(&self.other, Command::Evict))
            }
            Deed::VasRoots => {
                let address = Some(stage::SCENE_BASE);
                self.asked(|| client_lib::vas_set_root(&self.other, "root", address))?;
                self.asked(|| client_lib::vas_root(&self.other, "root"))?;
                self.asked(|| client_lib::vas_set_root(&self.other, "root", None))
            }
            Deed::SegAllocAndFree => {
                let segment = self.new_segment()?;
                self.asked(|| client_lib::seg_free(&segment))
            }
            Deed::SegAttachAndDetach => {
                let (vas, segment) = (&self.scene, &self.spare);
                self.asked(|| client_lib::seg_attach(vas, segment, Access::ReadWrite))?;
                self.asked(|| client_lib::seg_detach(vas, segment))
            }
            Deed::SegAttachAndDetachLocal => {
                let (at, segment) = (&self.inside, &self.local);
                self.asked(|| client_lib::seg_attach_local(at, segment, Access::ReadWrite))?;
                self.asked(|| client_lib::seg_detach_local(at, segment))
            }
            Deed::SegClone => {
                let mode = Mode(0o600);
                let clone =
                    self.asked(|| client_lib::seg_clone(&self.segment, stage::NEW, mode))?;
                self.asked(|| client_lib::seg_free(&clone))
            }
            Deed::SegGrow => {
                let mut segment = self.new_segment()?;
                self.asked(|| client_lib::seg_grow(&mut segment, 2 * stage::SIZE))?;
                self.asked(|| client_lib::seg_free(&segment))
            }
            Deed::SegCtl => {
                let lifetime = Command::Lifetime(Lifetime::Persistent);
                self.asked(|| client_lib::seg_ctl(&self.spare, lifetime))?;
                self.asked(|| client_lib::seg_ctl(&self.spare, Command::Evict))
            }
            Deed::Restrict => {
                self.asked(|| client_lib::vas_restrict(&self.other, Rights::READ))?;
                self.asked(|| client_lib::seg_restrict(&self.spare, Rights::READ))
                    .map(drop)
            }
            Deed::Ask => {
                self.asked(|| client_lib::vas_stat(&self.scene))?;
                self.asked(|| client_lib::seg_stat(&self.segment))?;
                self.asked(|| client_lib::vas_list(None).map(Iterator::count))?;
                self.asked(|| client_lib::seg_list(None).map(Iterator::count))?;
                self.asked(client_lib::quota_stat)?;
                self.asked(client_lib::server_stat).map(drop)
            }
            Deed::Mortal => {
                let dies = || Command::Lifetime(Lifetime::Creator);
                let vas = new_vas()?;
                self.asked(|| client_lib::vas_ctl(&vas, dies()))?;
                let segment = self.new_segment()?;
                self.asked(|| client_lib::seg_ctl(&segment, dies()))?;
                self.asked(|| client_lib::seg_attach(&vas, &segment, Access::ReadWrite))?;
                let attachment = self.asked(|| client_lib::vas_attach(&vas, Access::ReadWrite))?;
                self.asked(|| detach(attachment))?;
                self.asked(|| client_lib::vas_delete(&vas))?;
                self.asked(|| client_lib::seg_free(&segment))
            }
            Deed::Wait => {
                let child = process::spawn("victim", "sleep")?;
                stage::enter(Phase::Waiting);
                process::wait(child)?;
                Err(Failure::new("the sleeper has ended"))
            }
        }
    }
}
