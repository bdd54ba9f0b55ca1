// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls, IPC, and switching.

use bench::count::Counter;
use bench::report::{Of, figure, not_measured};
use client_lib::{Access, Space, vas_attach, vas_create, vas_delete, vas_detach, vas_switch};
use protocol::process::{ActiveSpace, slot};
use runtime::process;
use sel4::{InvocationLabel, MessageInfo, cap};

use crate::{Failure, MODE};

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
    let [one, two] = [
        vas_attach(&vases[0], Access::ReadWrite)?,
        vas_attach(&vases[1], Access::ReadWrite)?,
    ];
    let spaces = [one.space(), two.space()];

    let [whole] = counter.repeat(|counter| {
        vas_switch(spaces[0])?;
        let (count, switched) = counter.count(|| vas_switch(spaces[1]));
        vas_switch(Space::OWN)?;
        switched?;
        Ok::<_, Failure>([count])
    })?;
    let switch = |case, x| Of {
        measure: "switch",
        series: "",
        case,
        x,
    };
    figure(switch("vas_switch from VAS to VAS", 0), &whole);

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
    Ok(vases.iter().try_for_each(vas_delete)?)
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
