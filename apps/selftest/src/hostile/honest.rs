// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two processes of different users that share a VAS, and each have one for themselves; whatever
//! others do meanwhile, every answer and every word in memory must be as if they were alone.

use alloc::format;

use client_lib::{Access, Attachment, Command, Error, Mode, Vas};
use common::Outcome;
use common::calls::{attach, detach, inside};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use protocol::address_map::SLOT_BYTES;

use crate::control;

/// The shared VAS: the group may write, all others read.
pub const OPEN: &str = "open";
const OPEN_MODE: Mode = Mode(0o664);
const OPEN_BASE: u64 = 65 * SLOT_BYTES;
const OPEN_PAGES: u64 = 4;
/// Where either counts for the other.
const COUNTERS: [u64; 2] = [OPEN_BASE, OPEN_BASE + 8];

/// Where either works by itself.
const OWN_BASE: u64 = 66 * SLOT_BYTES;
const OWN_PAGES: u64 = 3;
const OWN_MODE: Mode = Mode(0o600);

const PAGE: u64 = 4096;

/// A word of a page that nobody changes.
fn pattern(page: u64) -> u64 {
    0x600d_0000_0000_0000 | page
}

/// Makes the shared VAS, and works.
pub fn first() -> Outcome {
    let vas = client_lib::vas_create(OPEN, OPEN_MODE)?;
    let size = OPEN_PAGES * PAGE;
    let segment = client_lib::seg_alloc(OPEN, OPEN_BASE, size, None, OPEN_MODE)?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    client_lib::vas_set_root(&vas, OPEN, Some(OPEN_BASE))?;
    let open = attach(&vas)?;
    inside(&open, || {
        for page in 1..OPEN_PAGES {
            store(OPEN_BASE + page * PAGE, pattern(page));
        }
        // The other one may begin.
        store(COUNTERS[0], 1);
        Ok(())
    })?;
    work(0, &vas, &open)?;

    // Nobody else finds it from now on, nor has it any longer.
    drop(vas);
    drop(segment);
    let vas = client_lib::vas_find(OPEN)?;
    client_lib::vas_ctl(&vas, Command::Mode(Mode(0)))?;
    client_lib::vas_ctl(&vas, Command::RevokeHandles)?;
    let vas = client_lib::vas_find(OPEN)?;
    client_lib::vas_ctl(&vas, Command::Evict)?;
    check_equal("after eviction", detach(open), Err(Error::StaleAttachment))?;
    client_lib::vas_delete(&vas)?;
    let segment = client_lib::seg_find(OPEN)?;
    client_lib::seg_ctl(&segment, Command::Mode(Mode(0)))?;
    client_lib::seg_ctl(&segment, Command::RevokeHandles)?;
    let segment = client_lib::seg_find(OPEN)?;
    client_lib::seg_ctl(&segment, Command::Evict)?;
    Ok(client_lib::seg_free(&segment)?)
}

/// Finds the shared VAS, and works.
pub fn second() -> Outcome {
    let vas = loop {
        match client_lib::vas_find(OPEN) {
            Err(Error::NotFound) => sel4::yield_now(),
            other => break other?,
        }
    };
    let open = attach(&vas)?;
    // Until the first one has put the segment there.
    while client_lib::vas_stat(&vas)?.roots == 0 {
        sel4::yield_now();
    }
    while inside(&open, || Ok(load(COUNTERS[0])))? == 0 {
        sel4::yield_now();
    }
    work(1, &vas, &open)
}

/// Works until told to stop: creates, attaches, switches, writes, reads, deletes.
fn work(own: usize, open: &Vas, open_attached: &Attachment) -> Outcome {
    let control = attach(&client_lib::vas_find(control::NAME)?)?;
    let other = 1 - own;
    let name = format!("own {own} of an honest process");
    let mut others_count = 0;
    let mut count = 1;
    loop {
        inside(open_attached, || {
            check(
                count == 1 || load(COUNTERS[own]) == count,
                "somebody else has written there",
            )?;
            let before = others_count;
            others_count = load(COUNTERS[other]);
            check(others_count >= before, "the other one has counted back")?;
            for page in 1..OPEN_PAGES {
                check_equal("word", load(OPEN_BASE + page * PAGE), pattern(page))?;
            }
            count += 1;
            store(COUNTERS[own], count);
            Ok(())
        })?;
        let statistics = client_lib::vas_stat(open)?;
        check_equal("segments", statistics.segments, 1)?;
        check_equal("bytes", statistics.bytes, OPEN_PAGES * PAGE)?;
        check_equal("mode", statistics.object.mode, OPEN_MODE)?;
        check_equal("root", client_lib::vas_root(open, OPEN)?, OPEN_BASE)?;

        alone(&name, count)?;

        let stop = inside(&control, || {
            store(control::ROUNDS[own], count);
            Ok(load(control::STOP) != 0)
        })?;
        if stop {
            return Ok(detach(control)?);
        }
    }
}

/// One VAS with a segment, from its making to its end.
fn alone(name: &str, value: u64) -> Outcome {
    let vas = client_lib::vas_create(name, OWN_MODE)?;
    let again = client_lib::vas_create(name, OWN_MODE).map(|_| ());
    check_equal("the same name again", again, Err(Error::NameExists))?;
    let size = OWN_PAGES * PAGE;
    let segment = client_lib::seg_alloc(name, OWN_BASE, size, None, OWN_MODE)?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    let address = |page| OWN_BASE + page * PAGE;

    let writing = attach(&vas)?;
    inside(&writing, || {
        for page in 0..OWN_PAGES {
            check_equal("fresh memory", load(address(page)), 0)?;
            store(address(page), value << 8 | page);
        }
        Ok(())
    })?;
    let reading = client_lib::vas_attach(&vas, Access::ReadOnly)?;
    for attached in [&writing, &reading] {
        inside(attached, || {
            for page in 0..OWN_PAGES {
                check_equal("word", load(address(page)), value << 8 | page)?;
            }
            Ok(())
        })?;
    }
    let in_use = Err(Error::InUse { attachments: 2 });
    check_equal("deleting it", client_lib::vas_delete(&vas), in_use)?;
    detach(writing)?;
    detach(reading)?;
    let statistics = client_lib::seg_stat(&segment)?;
    check_equal("VASes that have it", statistics.vases, 1)?;
    client_lib::seg_detach(&vas, &segment)?;
    client_lib::seg_free(&segment)?;
    client_lib::vas_delete(&vas)?;
    let gone = client_lib::vas_find(name).map(|_| ());
    check_equal("finding it", gone, Err(Error::NotFound))
}
