// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the server has.

use alloc::format;
use alloc::string::String;

use protocol::message::Statistics;

/// What has changed, if anything. A leak shows here.
pub fn difference(before: &Statistics, after: &Statistics) -> Option<String> {
    if before == after {
        return None;
    }
    let values = |of: &Statistics| {
        [
            ("bytes of memory in all", of.memory_total),
            ("free bytes of memory", of.memory_free),
            ("slots in all", of.slots_total),
            ("free slots", of.slots_free),
            ("ASIDs in all", of.asids_total.into()),
            ("free ASIDs", of.asids_free.into()),
            ("page tables", of.tables.into()),
            ("things to take apart", of.pending.into()),
            ("sessions", of.sessions.into()),
            ("VASes", of.vases.into()),
            ("segments", of.segments.into()),
            ("attachments", of.attachments.into()),
        ]
    };
    let mut text = String::from("the server has not the same as before:");
    for ((what, before), (_, after)) in values(before).into_iter().zip(values(after)) {
        if before != after {
            text.push_str(&format!(" {before} -> {after} {what};"));
        }
    }
    Some(text)
}
