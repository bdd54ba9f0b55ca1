// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C headers that the kernel includes.

use std::fmt::Write;
use std::path::PathBuf;

use heck::ToShoutySnakeCase;

use super::{Interfaces, LAYERS, Method};
use crate::error::Error;

/// How the header of each layer of invocations is called and what it defines.
struct Layer {
    path: &'static str,
    guard: &'static str,
    tag: &'static str,
    /// The enumerator that counts the labels up to here.
    count: &'static str,
}

const HEADERS: [Layer; LAYERS.len()] = [
    Layer {
        path: "api/invocation.h",
        guard: "__API_INVOCATION_H",
        tag: "invocation_label",
        count: "nInvocationLabels",
    },
    Layer {
        path: "arch/api/sel4_invocation.h",
        guard: "__API_SEL4_ARCH_INVOCATION_H",
        tag: "sel4_arch_invocation_label",
        count: "nSeL4ArchInvocationLabels",
    },
    Layer {
        path: "arch/api/invocation.h",
        guard: "__API_ARCH_INVOCATION_H",
        tag: "arch_invocation_label",
        count: "nArchInvocationLabels",
    },
];

pub(super) fn headers(interfaces: &Interfaces) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut headers = Vec::new();
    let mut below: Option<&Layer> = None;
    for (layer, methods) in HEADERS.iter().zip(&interfaces.layers) {
        headers.push((layer.path.into(), invocations(layer, below, methods)?));
        below = Some(layer);
    }
    headers.push(("arch/api/syscall.h".into(), syscalls(interfaces)));
    Ok(headers)
}

fn guarded(guard: &str, body: &str) -> String {
    format!(
        "/* Generated from the XML descriptions of seL4. */\n\
         #ifndef {guard}\n#define {guard}\n{body}\n#endif /* {guard} */\n"
    )
}

/// Writes `text`, and around it the condition, if there is one.
fn conditional(out: &mut String, condition: Option<&str>, text: &str) {
    match condition {
        Some(condition) => *out += &format!("#if {condition}\n{text}#endif\n"),
        None => *out += text,
    }
}

fn invocations(layer: &Layer, below: Option<&Layer>, methods: &[Method]) -> Result<String, Error> {
    let mut body = String::new();
    // Where counting starts: at 0, which is no invocation, or behind the layer below.
    let mut first = None;
    if let Some(below) = below {
        body += &format!("#include <{}>\n", below.path);
        first = Some(below.count);
    }
    body += &format!("\nenum {} {{\n", layer.tag);
    if first.is_none() {
        body += "    InvalidInvocation,\n";
    }
    for method in methods {
        let value = match (first.take(), &method.condition) {
            (None, _) => String::new(),
            (Some(count), None) => format!(" = {count}"),
            (Some(_), Some(_)) => {
                let reason = format!("{}: the first invocation has a condition", method.id);
                return Err(Error::Interface {
                    file: method.file.clone(),
                    reason,
                });
            }
        };
        let line = format!("    {}{value},\n", method.id);
        conditional(&mut body, method.condition.as_deref(), &line);
    }
    let value = first.map_or(String::new(), |count| format!(" = {count}"));
    body += &format!("    {}{value}\n}};\n", layer.count);
    Ok(guarded(layer.guard, &body))
}

fn syscalls(interfaces: &Interfaces) -> String {
    let mut numbers = interfaces.syscalls().into_iter();
    let always: Vec<(&str, i64)> = numbers.by_ref().take(interfaces.syscalls.len()).collect();

    let mut body = String::from("\n#ifdef __ASSEMBLER__\n");
    for (name, number) in &always {
        let name = name.to_shouty_snake_case();
        let _ = writeln!(body, "#define SYSCALL_{name} ({number})");
    }
    body += "#endif\n\n";
    let last = always.last().map_or(0, |(_, number)| *number);
    let _ = writeln!(
        body,
        "#define SYSCALL_MAX (-1)\n#define SYSCALL_MIN ({last})\n"
    );

    body += "#ifndef __ASSEMBLER__\nenum syscall {\n";
    for (name, number) in &always {
        let _ = writeln!(body, "    Sys{name} = {number},");
    }
    for (condition, names) in &interfaces.optional_syscalls {
        let lines: String = numbers
            .by_ref()
            .take(names.len())
            .map(|(name, number)| format!("    Sys{name} = {number},\n"))
            .collect();
        conditional(&mut body, condition.as_deref(), &lines);
    }
    body += "};\ntypedef word_t syscall_t;\n\n";

    body += "#ifdef CONFIG_DEBUG_BUILD\nstatic char *syscall_names[] UNUSED = {\n";
    for (name, number) in &always {
        let _ = writeln!(body, "    [{}] = \"{name}\",", -number);
    }
    body += "};\n#endif\n#endif\n";
    guarded("__ARCH_API_SYSCALL_H", &body)
}
