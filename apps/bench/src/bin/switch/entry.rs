// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls, IPC, and switching.

use alloc::vec::Vec;

use bench::count::{Counter, Samples};
use bench::report::{Of, figure, not_measured};
use client_lib::{
    Access, LockMode, PageSize, Space, VasCommand, seg_alloc_lockable, seg_attach, seg_free,
    vas_attach, vas_create, vas_ctl, vas_delete, vas_detach, vas_switch,
};
use protocol::process::{ActiveSpace, slot};
use runtime::process;
use sel4::{InvocationLabel, MessageInfo, cap};

use crate::{BASE, Failure, KIB, MODE};

const EMPTY: MessageInfo = MessageInfo::new(0, 0, 0, 0);
/// Slot 0 is never used.
const NOTHING: cap::Endpoint = cap::Endpoint::from_bits(0);

pub fn run(counter: &Counter) -> Result<(), Failure> {
    system_calls(counter)?;
    switches(counter)
}

fn system_calls(counter: &Counter) -> Result<(), Failure> {
    let entry = |case, x| Of {
        measure: "system call",
        series: "",
        case,
        x,
    };
    let echo = process::spawn("echo", "")?;
    let [refused, yielding, ipc] = counter.repeat(|counter| {
        let call = |endpoint| counter.count(|| sel4::call(endpoint, EMPTY, [0; 4])).0;
        Ok::<_, Failure>([
            call(NOTHING),
            counter.count(sel4::yield_now).0,
            call(bench::endpoint(0)),
        ])
    })?;
    process::kill(echo)?;
    process::wait(echo)?;
    figure(entry("invocation refused at once", 0), &refused);
    figure(entry("Yield", 1), &yielding);
    figure(entry("IPC round trip between two processes", 2), &ipc);
    Ok(())
}

fn switches(counter: &Counter) -> Result<(), Failure> {
    let vases = [vas_create("one", MODE)?, vas_create("two", MODE)?];
    for vas in &vases {
        vas_ctl(vas, VasCommand::LockMode(LockMode::None))?;
    }
    let [one, two] = [
        vas_attach(&vases[0], Access::ReadWrite)?,
        vas_attach(&vases[1], Access::ReadWrite)?,
    ];
    let spaces = [one.space(), two.space()];

    let switch = |case, x| Of {
        measure: "switch",
        series: "",
        case,
        x,
    };
    let whole = from_one_to_other(counter, spaces)?;
    figure(
        switch("vas_switch from VAS to VAS, without locks", 0),
        &whole,
    );

    let alone = switch("the invocation Switch alone, fast path", 1);
    let slow = switch("the invocation Switch alone, slow path", 2);
    if cap::PML4::from_bits(slot::VSPACE).switch().is_ok() {
        let [fast_path, slow_path] = counter.repeat(|counter| {
            let [first, second] = [root(spaces[0])?, root(spaces[1])?];
            first.switch()?;
            let (fast, switched) = counter.count(|| second.switch());
            switched?;
            let (slow, switched) = counter.count(|| switch_slowly(first));
            switched?;
            vas_switch(Space::OWN)?;
            Ok::<_, Failure>([fast, slow])
        })?;
        figure(alone, &fast_path);
        figure(slow, &slow_path);
    } else {
        for of in [alone, slow] {
            not_measured(of, "this kernel has no such invocation");
        }
    }

    for attachment in [one, two] {
        vas_detach(attachment).map_err(|(_, error)| error)?;
    }
    for vas in &vases {
        vas_ctl(vas, VasCommand::LockMode(LockMode::Cooperative))?;
    }
    let [one, two] = [
        vas_attach(&vases[0], Access::ReadWrite)?,
        vas_attach(&vases[1], Access::ReadWrite)?,
    ];
    let spaces = [one.space(), two.space()];
    let nothing_to_lock = from_one_to_other(counter, spaces)?;
    figure(
        switch("the same, locks cooperative, none to take", 3),
        &nothing_to_lock,
    );
    let mut segments = Vec::new();
    for (vas, name) in vases.iter().zip(["one", "two"]) {
        let segment = seg_alloc_lockable(name, BASE, 4 * KIB, Some(PageSize::Small), MODE)?;
        seg_attach(vas, &segment, Access::ReadWrite)?;
        segments.push(segment);
    }
    let one_lock = from_one_to_other(counter, spaces)?;
    figure(
        switch(
            "the same, one lock given back and one taken, both to write",
            4,
        ),
        &one_lock,
    );
    for attachment in [one, two] {
        vas_detach(attachment).map_err(|(_, error)| error)?;
    }
    vases.iter().try_for_each(vas_delete)?;
    Ok(segments.iter().try_for_each(seg_free)?)
}

/// Switches between two VASes.
fn from_one_to_other(counter: &Counter, spaces: [Space; 2]) -> Result<Samples, Failure> {
    let [whole] = counter.repeat(|counter| {
        vas_switch(spaces[0])?;
        let (count, switched) = counter.count(|| vas_switch(spaces[1]));
        vas_switch(Space::OWN)?;
        switched?;
        Ok::<_, Failure>([count])
    })?;
    Ok(whole)
}

/// The root cap of a space, which a thread inside can tell.
fn root(space: Space) -> Result<cap::PML4, Failure> {
    let before = vas_switch(space)?;
    let active = ActiveSpace::from_word(sel4::user_data());
    vas_switch(before)?;
    Ok(cap::PML4::from_bits(active.root.into()))
}

/// Switches with one word more than the fast path takes.
fn switch_slowly(root: cap::PML4) -> Result<(), Failure> {
    let label = InvocationLabel::X64PML4Switch as u64;
    let words = sel4::write_message(&[0; 5]);
    let (info, _) = sel4::call(root, MessageInfo::new(label, 0, 0, 5), words);
    match info.label() {
        0 => Ok(()),
        _ => Err(Failure::Refused),
    }
}
