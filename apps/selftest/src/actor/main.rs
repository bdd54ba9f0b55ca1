// SPDX-License-Identifier: MIT OR Apache-2.0

//! The other process of a test. Its first argument says what it does, the others with what.
//!
//! Behaviours that end with one answer of a service tell it by their exit code (see
//! [`common::verdict`]); the others exit with 0 when all they saw was as it should be.
//! Numbers are decimal or, after `0x`, hexadecimal.

#![no_std]
#![no_main]

extern crate alloc;

mod crash;
mod data;
mod lock;
mod threads;

use alloc::format;
use alloc::vec::Vec;
use core::hint::black_box;

use client_lib::{
    Access, Command, Endpoint, Error, Lifetime, Mode, Rights, Space, vas_switch,
    vas_switch_timeout, vas_switch_try,
};
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{fetch_add, load, store, wait_for};
use common::{Failure, Outcome, raw, verdict};
use protocol::message::VasDetach;
use protocol::process::{ProcessId, slot};

runtime::heap!(64 << 10);
runtime::main!(main);

/// Times that an actor lets others run before it ends by itself, so that a failed test
/// leaves none behind.
const LIFETIME: u32 = 1_000_000;

fn main() -> i32 {
    let info = runtime::start_info();
    let words: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    match act(&words) {
        Ok(code) => code,
        Err(failure) => {
            runtime::println!("actor: {}: {failure}", info.arguments);
            verdict::CONFUSED
        }
    }
}

/// The behaviours.
fn act(words: &[&str]) -> Result<i32, Failure> {
    let outcome = match *words {
        // How a process ends.
        ["exit", code] => return Ok(number(code)? as i32),
        ["exit-at-once", code] => runtime::exit(number(code)? as i32),
        ["panic"] => panic!("on purpose"),
        ["crash", kind] => crash::crash(kind),
        ["crash-at", kind, address] => crash::crash_at(kind, number(address)?),
        ["address-of", what] => return Ok(crash::address_of(what)? as i32),
        ["forge-fault", label, length] => forge_fault(number(label)?, number(length)?),
        ["live"] => live(),
        ["hog", turns] => hog(number(turns)?),

        // What init answers.
        ["spawn"] => return Ok(verdict::of_init(runtime::process::spawn("actor-other", ""))),
        ["wait", id] => return Ok(verdict::of_init(runtime::process::wait(process(id)?))),
        ["kill", id] => return Ok(verdict::of_init(runtime::process::kill(process(id)?))),
        ["arguments", "two", "words"] => Ok(()),

        // What the VAS service answers.
        ["find-vas", vas] => return answer(client_lib::vas_find(vas).map(|vas| vas.rights())),
        ["find-segment", segment] => {
            return answer(client_lib::seg_find(segment).map(|segment| segment.rights()));
        }
        ["create-vas", vas] => {
            return answer(client_lib::vas_create(vas, Mode(0o600)).map(|vas| vas.rights()));
        }
        ["attach-vas", vas, access] => return answer(attach_vas(vas, access)),
        ["delete-vas", vas] => return answer(find_and(vas, client_lib::vas_delete)),
        ["free-segment", segment] => {
            let segment = client_lib::seg_find(segment)?;
            return answer(client_lib::seg_free(&segment).map(|()| Rights::empty()));
        }
        ["attach-segment", vas, segment, access] => {
            let segment = client_lib::seg_find(segment)?;
            let access = access_named(access)?;
            return answer(find_and(vas, |vas| {
                client_lib::seg_attach(vas, &segment, access)
            }));
        }
        ["detach-segment", vas, segment] => {
            let segment = client_lib::seg_find(segment)?;
            return answer(find_and(vas, |vas| client_lib::seg_detach(vas, &segment)));
        }
        ["chmod-vas", vas] => {
            let command = Command::Mode(Mode(0o640));
            return answer(find_and(vas, |vas| client_lib::vas_ctl(vas, command)));
        }
        ["chmod-segment", segment] => {
            let segment = client_lib::seg_find(segment)?;
            let changed = client_lib::seg_ctl(&segment, Command::Mode(Mode(0o640)));
            return answer(changed.map(|()| Rights::empty()));
        }
        ["use-passed-vas", address, value] => {
            return use_passed_vas(number(address)?, number(value)?);
        }
        ["keep-passed-vas", vas, base] => return keep_passed_vas(vas, number(base)?),
        ["sees", vas, segment] => return sees(vas, segment),
        ["attach-until-refused", prefix] => return attach_until_refused(prefix),
        ["handle-beyond-cnode"] => beyond_cnode(),

        ["use-quota", bytes] => use_quota(number(bytes)?),
        ["exceed-quota"] => exceed_quota(),

        // What it does in a VAS.
        ["build-list", vas, base, count] => build_list(vas, number(base)?, number(count)?),
        ["check-list", vas, base, count] => check_list(vas, number(base)?, number(count)?),
        ["create", vas, base, value] => create(vas, number(base)?, number(value)?),
        ["make-and-die", name, base, lifetime, how, vas, place] => {
            make(name, number(base)?, lifetime)?;
            die_inside(vas, number(place)?, how)
        }
        ["load-root", vas, root, value] => {
            let address = client_lib::vas_root(&client_lib::vas_find(vas)?, root)?;
            load_inside(vas, address, number(value)?)
        }
        ["load", vas, address, value] => load_inside(vas, number(address)?, number(value)?),
        ["load-then-store", vas, access, address] => {
            load_then_store(vas, access_named(access)?, number(address)?)
        }
        ["store-local", vas, access, segment, segment_access] => store_local(
            vas,
            access_named(access)?,
            segment,
            access_named(segment_access)?,
        ),
        ["load-from-other", here, there, address] => load_from_other(here, there, number(address)?),
        ["go-home-and-load", vas, address] => go_home_and_load(vas, number(address)?),
        ["follow", vas, base, other] => follow(vas, number(base)?, number(other)?),
        ["count", vas, base, times] => count(vas, number(base)?, number(times)?),
        ["guard", vas, base, value, turns] => {
            guard(vas, number(base)?, number(value)?, number(turns)?)
        }
        ["keep-sse", vas, base, turns] => keep_sse(vas, number(base)?, number(turns)?),
        ["hold", vas, base] => hold(vas, number(base)?),
        ["attach-and-exit", vas] => attach_and_exit(vas),
        ["die-inside", vas, base, how] => die_inside(vas, number(base)?, how),
        ["stay", vas, word] => lock::stay(vas, number(word)?),
        ["switch", vas, access] => {
            return answer(lock::switch(vas, access_named(access)?, vas_switch));
        }
        ["try-switch", vas, access] => {
            return answer(lock::switch(vas, access_named(access)?, vas_switch_try));
        }
        ["timed-switch", vas, access, microseconds] => {
            let (access, microseconds) = (access_named(access)?, number(microseconds)?);
            let enter = |space| vas_switch_timeout(space, microseconds);
            return answer(lock::switch(vas, access, enter));
        }
        ["wait-in-vain", vas, microseconds] => lock::wait_in_vain(vas, number(microseconds)?),
        ["alternate", one, other, word, turns] => {
            lock::alternate(one, other, number(word)?, number(turns)?)
        }
        ["enter-again", vas, word] => lock::enter_again(vas, number(word)?),
        ["unlock-inside", vas] => lock::unlock_inside(vas),
        ["create-notes", vas, count] => data::create(vas, number(count)?),
        ["add-notes", vas, count] => data::add(vas, number(count)?),
        ["count-notes", vas, turns] => data::count(vas, number(turns)?),
        ["read-notes", vas, count] => data::read(vas, number(count)?),
        ["find-or-create-notes", vas] => data::find_or_create(vas),
        ["die-in-notes", vas, how] => data::die(vas, how),
        ["write-notes-read-only", vas] => data::write_read_only(vas),
        ["store-as-reader", vas] => data::store_as_reader(vas),
        ["follow-outside", vas, attachment] => data::follow_outside(vas, attachment),
        ["visit", vas, other, go] => data::visit(vas, other, go),
        ["start-a-thread"] => threads::start_one(),
        ["overflow-in-a-thread"] => threads::overflow(),
        ["end-inside", vas] => threads::end_inside(vas),
        ["fault-in", thread, one, other, word] => {
            threads::fault_in(number(thread)?, one, other, number(word)?)
        }
        ["detach-under-a-thread", vas] => threads::detach_under(vas),
        ["be-everywhere", vas, other, word, how] => {
            threads::be_everywhere(vas, other, number(word)?, how)
        }
        ["detach-inside", vas, base] => detach_inside(vas, number(base)?),
        _ => Err(Failure::new("no such behaviour")),
    };
    outcome.map(|()| verdict::DONE)
}

fn number(word: &str) -> Result<u64, Failure> {
    match word.strip_prefix("0x") {
        Some(digits) => Ok(u64::from_str_radix(digits, 16)?),
        None => Ok(word.parse()?),
    }
}

fn process(word: &str) -> Result<ProcessId, Failure> {
    Ok(ProcessId(number(word)? as u32))
}

fn access_named(word: &str) -> Result<Access, Failure> {
    match word {
        "read-only" => Ok(Access::ReadOnly),
        "read-write" => Ok(Access::ReadWrite),
        _ => Err(Failure::new("no such access")),
    }
}

fn answer(answer: Result<Rights, Error>) -> Result<i32, Failure> {
    Ok(verdict::of(answer))
}

fn find_and(
    vas: &str,
    action: impl FnOnce(&client_lib::Vas) -> Result<(), Error>,
) -> Result<Rights, Error> {
    let vas = client_lib::vas_find(vas)?;
    action(&vas).map(|()| Rights::empty())
}

fn live() -> Outcome {
    for _ in 0..LIFETIME {
        sel4::yield_now();
    }
    Ok(())
}

/// Uses the processor without ever giving it up by itself.
fn hog(turns: u64) -> Outcome {
    for turn in 0..turns {
        black_box(turn);
    }
    Ok(())
}

fn attach_vas(vas: &str, access: &str) -> Result<Rights, Error> {
    let access = access_named(access).map_err(|_| Error::Malformed)?;
    let vas = client_lib::vas_find(vas)?;
    let attachment = client_lib::vas_attach(&vas, access)?;
    detach(attachment).map(|()| Rights::empty())
}

/// Takes all memory that is promised to the user, and gives it back.
fn use_quota(bytes: u64) -> Outcome {
    let before = client_lib::quota_stat()?;
    check_equal("user", before.user, Some(3000))?;
    check_equal("free bytes", before.memory_free, bytes)?;
    check_equal("all bytes", before.memory_total, bytes)?;
    let vas = client_lib::vas_create("promised", Mode(0o600))?;
    let attachment = attach(&vas)?;
    let tables = bytes - client_lib::quota_stat()?.memory_free;
    let statistics = client_lib::vas_stat(&vas)?;
    check_equal("bytes of page tables", statistics.table_bytes, tables)?;
    let mut segments = Vec::new();
    let mut size = bytes;
    while size > 0 {
        let name = format!("promised{}", segments.len());
        match client_lib::seg_alloc(
            &name,
            protocol::address_map::GLOBAL.start,
            size,
            None,
            Mode(0),
        ) {
            Ok(segment) => segments.push(segment),
            Err(Error::OutOfMemory) => size /= 2,
            Err(error) => return Err(error.into()),
        }
    }
    check_equal("free bytes", client_lib::quota_stat()?.memory_free, 0)?;
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    detach(attachment)?;
    client_lib::vas_delete(&vas)?;
    check_equal("quota", client_lib::quota_stat()?, before)
}

/// Tries to have one VAS and one segment more than the quota says.
fn exceed_quota() -> Outcome {
    let before = client_lib::quota_stat()?;
    let mut vases = Vec::new();
    for index in 0..before.most.vases {
        vases.push(client_lib::vas_create(
            &format!("promised{index}"),
            Mode(0),
        )?);
    }
    let reached = Error::LimitReached(protocol::Limit::Vases);
    let answer = client_lib::vas_create("one more", Mode(0)).map(|_| ());
    check_equal("answer", answer, Err(reached))?;
    check_equal(
        "VASes",
        client_lib::quota_stat()?.used.vases,
        before.most.vases,
    )?;
    let size = before.memory_total + 4096;
    let base = protocol::address_map::GLOBAL.start;
    let answer = client_lib::seg_alloc("one more", base, size, None, Mode(0)).map(|_| ());
    check_equal("answer", answer, Err(Error::OutOfMemory))?;
    for vas in vases {
        client_lib::vas_delete(&vas)?;
    }
    check_equal("quota", client_lib::quota_stat()?, before)
}

/// Waits at the endpoint that the description gives to this component.
fn passed_vas() -> Result<client_lib::Vas, Error> {
    Endpoint::new(0).ok_or(Error::NotFound)?.receive_vas()
}

/// Finds `value` through a handle that it is passed; then tries to attach for writing.
fn use_passed_vas(address: u64, value: u64) -> Result<i32, Failure> {
    let vas = match passed_vas() {
        Ok(vas) => vas,
        Err(error) => return answer(Err(error)),
    };
    let reading = client_lib::vas_attach(&vas, Access::ReadOnly)?;
    inside(&reading, || check_equal("word", load(address), value))?;
    detach(reading)?;
    answer(attach(&vas).map(|_| Rights::empty()))
}

/// Keeps a handle that it is passed until the first word of `vas` is 2; then uses it.
fn keep_passed_vas(vas: &str, base: u64) -> Result<i32, Failure> {
    let passed = passed_vas()?;
    hold(vas, base)?;
    answer(attach(&passed).map(|_| Rights::empty()))
}

/// The exit code says which of the two its listings show: 1 the VAS, 2 the segment; 4 besides.
fn sees(vas: &str, segment: &str) -> Result<i32, Failure> {
    let sees_vas = client_lib::vas_list(None)?.any(|entry| entry.name.as_str() == vas);
    let sees_segment = client_lib::seg_list(None)?.any(|entry| entry.name.as_str() == segment);
    Ok(4 | i32::from(sees_vas) | i32::from(sees_segment) << 1)
}

/// Attaches to the VASes PREFIX0, PREFIX1, ... both ways until that is refused because of the
/// limit. The exit code is how many attachments there were by then.
fn attach_until_refused(prefix: &str) -> Result<i32, Failure> {
    let mut attachments = Vec::new();
    for index in 0.. {
        let vas = client_lib::vas_find(&format!("{prefix}{index}"))?;
        for access in [Access::ReadOnly, Access::ReadWrite] {
            match client_lib::vas_attach(&vas, access) {
                Ok(attachment) => attachments.push(attachment),
                Err(Error::LimitReached(protocol::Limit::Attachments)) => {
                    return Ok(attachments.len() as i32);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(Failure::new("never refused"))
}

/// Passes a cap pointer that is beyond the CNode. The kernel makes that the caller's fault.
fn beyond_cnode() -> Outcome {
    let _ = raw::request(&protocol::message::VasDelete, &[1 << 40], raw::SCRATCH[0]);
    Err(Failure::new(
        "the kernel accepted a cap pointer beyond the CNode",
    ))
}

/// Sends what only the kernel should, where only the kernel should.
fn forge_fault(label: u64, length: u64) -> Outcome {
    let words: Vec<u64> = (0..length).map(|index| index << 40 | index).collect();
    raw::call(slot::FAULT, label, &words, &[], raw::SCRATCH[0]);
    Err(Failure::new("a fault message was answered"))
}

/// A list in memory: the first word of a node is the address of the next one, 0 at the end;
/// the second is the node's number. The nodes are not in order of address, so that only
/// following the pointers finds them.
fn node(base: u64, index: u64, count: u64) -> u64 {
    base + 64 + (index * 7 % count) * 16
}

fn build_list(vas: &str, base: u64, count: u64) -> Outcome {
    check(
        !count.is_multiple_of(7),
        "the length of a list must not be a multiple of 7",
    )?;
    visit(&client_lib::vas_find(vas)?, || {
        for index in 0..count {
            let next = if index + 1 < count {
                node(base, index + 1, count)
            } else {
                0
            };
            store(node(base, index, count), next);
            store(node(base, index, count) + 8, index);
        }
        store(base, node(base, 0, count));
        Ok(())
    })
}

fn check_list(vas: &str, base: u64, count: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        let mut node = load(base);
        for index in 0..count {
            check_equal("number of a node", load(node + 8), index)?;
            node = load(node);
        }
        check_equal("end of the list", node, 0)
    })
}

/// Makes a VAS and a segment of one page, both open to all and both named `name`, with
/// `value` in the first word.
fn create(name: &str, base: u64, value: u64) -> Outcome {
    let vas = client_lib::vas_create(name, Mode(0o666))?;
    let segment = client_lib::seg_alloc(name, base, 4096, None, Mode(0o666))?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    visit(&vas, || {
        store(base, value);
        Ok(())
    })
}

/// Makes a VAS and a segment in it that live as long as `lifetime` says.
fn make(name: &str, base: u64, lifetime: &str) -> Outcome {
    let lifetime = match lifetime {
        "creator" => Lifetime::Creator,
        "last-attacher" => Lifetime::LastAttacher,
        _ => return Err(Failure::new("no such lifetime")),
    };
    let vas = client_lib::vas_create(name, Mode(0o666))?;
    let segment = client_lib::seg_alloc(name, base, 4096, None, Mode(0o666))?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    client_lib::vas_ctl(&vas, Command::Lifetime(lifetime))?;
    Ok(client_lib::seg_ctl(&segment, Command::Lifetime(lifetime))?)
}

fn load_inside(vas: &str, address: u64, value: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        check_equal("word", load(address), value)
    })
}

/// Loads at `address`, where it must succeed, and stores behind it.
fn load_then_store(vas: &str, access: Access, address: u64) -> Outcome {
    let vas = client_lib::vas_find(vas)?;
    let attachment = client_lib::vas_attach(&vas, access)?;
    inside(&attachment, || {
        store(address + 8, load(address));
        Ok(())
    })?;
    Ok(detach(attachment)?)
}

/// Adds a segment to an attachment of its own alone, and stores to it.
fn store_local(vas: &str, access: Access, segment: &str, segment_access: Access) -> Outcome {
    let attachment = client_lib::vas_attach(&client_lib::vas_find(vas)?, access)?;
    let segment = client_lib::seg_find(segment)?;
    client_lib::seg_attach_local(&attachment, &segment, segment_access)?;
    inside(&attachment, || {
        store(segment.base(), load(segment.base()) + 1);
        Ok(())
    })?;
    Ok(detach(attachment)?)
}

/// Loads `address` in one VAS, where it must succeed, and behind it in the other.
fn load_from_other(here: &str, there: &str, address: u64) -> Outcome {
    let here = attach(&client_lib::vas_find(here)?)?;
    let there = attach(&client_lib::vas_find(there)?)?;
    inside(&here, || {
        load(address);
        inside(&there, || {
            load(address + 8);
            Ok(())
        })
    })
}

/// Loads `address` in a VAS, where it must succeed, and behind it from its own space.
fn go_home_and_load(vas: &str, address: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        load(address);
        Ok(())
    })?;
    load(address + 8);
    Err(Failure::new("a segment is seen from outside"))
}

/// Stays inside while the test adds the segment at `other` to the VAS and removes it again.
fn follow(vas: &str, base: u64, other: u64) -> Outcome {
    let vas = client_lib::vas_find(vas)?;
    visit(&vas, || {
        store(base, 1);
        wait_for(base, 2)?;
        store(base + 8, load(other));
        store(base, 3);
        wait_for(base, 4)?;
        load(other + 8);
        Err(Failure::new("the segment is still there"))
    })
}

/// Adds 1 to a counter many times, giving others their turn in between.
fn count(vas: &str, base: u64, times: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        for _ in 0..times {
            fetch_add(base, 1);
            sel4::yield_now();
        }
        Ok(())
    })
}

/// Sees all the time, without giving up the processor, that nobody changes its word.
fn guard(vas: &str, base: u64, value: u64, turns: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        for turn in 0..turns {
            store(base, value + turn);
            for _ in 0..100 {
                black_box(turn);
            }
            check_equal("own word", load(base), value + turn)?;
        }
        Ok(())
    })
}

/// Holds values of its own in the SSE registers while two others do the same. The first word
/// counts who is there, the second who is done.
fn keep_sse(vas: &str, base: u64, turns: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        fetch_add(base, 1);
        wait_for(base, 3)?;
        check_equal(
            "processes that are done before the last one begins",
            load(base + 8),
            0,
        )?;
        check(
            crash::keeps_sse(turns),
            "SSE registers changed under a thread",
        )?;
        fetch_add(base + 8, 1);
        Ok(())
    })
}

/// Stays inside until the test changes the first word from 1.
fn hold(vas: &str, base: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        store(base, 1);
        wait_for(base, 2)
    })
}

/// Ends without detaching.
fn attach_and_exit(vas: &str) -> Outcome {
    let vas = client_lib::vas_find(vas)?;
    core::mem::forget(attach(&vas)?);
    core::mem::forget(client_lib::vas_attach(&vas, Access::ReadOnly)?);
    Ok(())
}

/// Dies while inside. For `live` the test kills it once the first word is 1.
fn die_inside(vas: &str, base: u64, how: &str) -> Outcome {
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    inside(&attachment, || {
        store(base, 1);
        match how {
            "exit" => runtime::exit(7),
            "panic" => panic!("on purpose, inside a VAS"),
            "fault" => crash::crash_at("load", 0x5a5_5a5a_5000),
            "live" => live(),
            _ => Err(Failure::new("no such death")),
        }
    })
}

/// Takes away the root that it runs in.
fn detach_inside(vas: &str, base: u64) -> Outcome {
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    vas_switch(attachment.space())?;
    store(base, 1);
    raw::request(
        &VasDetach {
            attachment: attachment.id(),
        },
        &[],
        raw::SCRATCH[0],
    )?;
    // Nothing of the process is mapped any longer, not even this.
    let _ = vas_switch(Space::OWN);
    Err(Failure::new("still running without a root"))
}
