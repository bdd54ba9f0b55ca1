// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Rust that the bindings include.
//!
//! The parameters of an invocation are laid out as seL4's own stubs do: each is aligned to its
//! size, at most to a word; several small ones share a word; capabilities travel apart.

use std::fmt::Write;

use heck::{ToShoutySnakeCase, ToSnakeCase};

use super::{Definitions, Interfaces, Method, Parameter, Struct, descriptions};
use crate::error::Error;

const WORD_BITS: usize = 64;
/// Message registers that are CPU registers.
const CPU_REGISTERS: usize = 4;

/// How a C type is called in Rust and put into words.
enum Type {
    /// An unsigned integer of so many bits.
    Unsigned(usize),
    /// `int`.
    Signed,
    Bool,
    /// One word with a type of its own, which has `bits()`.
    Word(&'static str),
    /// A capability: its kind.
    Cap(String),
    /// A structure of words: its name in Rust and its length.
    Struct(String, usize),
}

impl Type {
    fn of(parameter: &Parameter, structs: &[Struct]) -> Option<Type> {
        // Where the description says less than the kernel demands, say what it demands.
        let cap = match (parameter.name.as_str(), parameter.kind.as_str()) {
            ("type", "seL4_Word") => return Some(Type::Word("ObjectType")),
            ("vroot", "seL4_CPtr") | ("vspace_root", "seL4_CNode") => Some("PML4"),
            ("notification", "seL4_CPtr") => Some("Notification"),
            ("bufferFrame", "seL4_CPtr") => Some("Page"),
            ("vcpu", "seL4_CPtr") => Some("Vcpu"),
            ("tcb", "seL4_CNode") => Some("Tcb"),
            ("ioPort", "seL4_CNode") => Some("IoPort"),
            _ => None,
        };
        if let Some(cap) = cap {
            return Some(Type::Cap(cap.to_owned()));
        }
        Some(match parameter.kind.as_str() {
            "seL4_Uint8" => Type::Unsigned(8),
            "seL4_Uint16" => Type::Unsigned(16),
            "seL4_Uint32" => Type::Unsigned(32),
            "seL4_Word" | "seL4_Uint64" | "seL4_CapData_t" => Type::Unsigned(64),
            "int" => Type::Signed,
            "seL4_Bool" => Type::Bool,
            "seL4_CapRights_t" => Type::Word("CapRights"),
            "seL4_PrioProps_t" => Type::Word("PrioProps"),
            "seL4_X86_VMAttributes" => Type::Word("VmAttributes"),
            name => match structs.iter().find(|structure| structure.name == name) {
                Some(structure) => {
                    Type::Struct(rust_name(name).to_owned(), structure.members.len())
                }
                None if name.starts_with("seL4_") && !name.ends_with("_t") => {
                    Type::Cap(cap_name(name))
                }
                None => return None,
            },
        })
    }

    fn bits(&self) -> usize {
        match self {
            Type::Unsigned(bits) => *bits,
            Type::Signed => 32,
            Type::Bool => 1,
            Type::Word(_) | Type::Cap(_) => WORD_BITS,
            Type::Struct(_, words) => words * WORD_BITS,
        }
    }

    fn rust(&self) -> String {
        match self {
            Type::Unsigned(bits) => format!("u{bits}"),
            Type::Signed => "i32".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Word(name) => (*name).to_owned(),
            Type::Cap(name) => format!("cap::{name}"),
            Type::Struct(name, _) => name.clone(),
        }
    }

    /// The expression for word `index` of a parameter of this type.
    fn to_word(&self, name: &str, index: usize) -> String {
        match self {
            Type::Unsigned(WORD_BITS) => name.to_owned(),
            Type::Unsigned(_) | Type::Bool => format!("u64::from({name})"),
            Type::Signed => format!("u64::from({name} as u32)"),
            Type::Word(_) | Type::Cap(_) => format!("{name}.bits()"),
            Type::Struct(..) => format!("{name}.to_words()[{index}]"),
        }
    }

    /// The expression for a result of this type that lies at `word`, `shift` bits up.
    fn read_words(&self, word: usize, shift: usize) -> String {
        let value = match shift {
            0 => result_word(word),
            _ => format!("({} >> {shift})", result_word(word)),
        };
        match self {
            Type::Unsigned(WORD_BITS) => value,
            Type::Unsigned(bits) => format!("{value} as u{bits}"),
            Type::Signed => format!("{value} as u32 as i32"),
            Type::Bool => format!("{value} & 1 != 0"),
            Type::Word(name) => format!("{name}::from_bits({value})"),
            Type::Cap(name) => format!("cap::{name}::from_bits({value})"),
            Type::Struct(name, length) => {
                let words: Vec<String> = (word..word + length).map(result_word).collect();
                format!("{name}::from_words([{}])", words.join(", "))
            }
        }
    }
}

/// The expression for a word of the kernel's answer.
fn result_word(index: usize) -> String {
    if index < CPU_REGISTERS {
        format!("answer[{index}]")
    } else {
        format!("message_register({index})")
    }
}

/// The name in Rust of a C type or an interface, without the prefixes that all have.
fn rust_name(name: &str) -> &str {
    let name = name.strip_prefix("seL4_").unwrap_or(name);
    name.strip_prefix("X86_")
        .or_else(|| name.strip_prefix("X64_"))
        .unwrap_or(name)
}

/// The kind of capability that an interface is about.
fn cap_name(interface: &str) -> String {
    match rust_name(interface) {
        "TCB" => "Tcb",
        "IRQControl" => "IrqControl",
        "IRQHandler" => "IrqHandler",
        "ASIDControl" => "AsidControl",
        "ASIDPool" => "AsidPool",
        "IOPort" => "IoPort",
        "IOSpace" => "IoSpace",
        "IOPageTable" => "IoPageTable",
        "VCPU" => "Vcpu",
        "CPtr" => "Unspecified",
        other => other,
    }
    .to_owned()
}

fn method_name(method: &Method) -> String {
    match method.name.to_snake_case() {
        name if name == "move" => "move_".to_owned(),
        name => name,
    }
}

fn parameter_name(parameter: &Parameter) -> String {
    match parameter.name.as_str() {
        "type" => "object_type".to_owned(),
        name => name.to_snake_case(),
    }
}

pub(super) fn module(interfaces: &Interfaces, definitions: &Definitions) -> Result<String, Error> {
    let methods = interfaces.methods(definitions)?;
    let mut out = String::from("// Generated from the XML descriptions of seL4.\n");
    labels(&mut out, &methods);
    syscalls(&mut out, interfaces);

    let uses = |structure: &&Struct| {
        let mut parameters = methods
            .iter()
            .flat_map(|(method, _)| method.inputs.iter().chain(&method.outputs));
        parameters.any(|parameter| parameter.kind == structure.name)
    };
    for structure in interfaces.structs.iter().filter(uses) {
        register_struct(&mut out, structure);
    }
    for (method, _) in methods {
        invocation(&mut out, method, &interfaces.structs).map_err(|parameter| {
            let reason = format!("{}: type {:?} is not known", method.id, parameter.kind);
            Error::Interface {
                file: method.file.clone(),
                reason,
            }
        })?;
    }
    Ok(out)
}

fn labels(out: &mut String, methods: &[(&Method, u64)]) {
    *out += "\n/// The label of each invocation (`enum invocation_label` of libsel4).\n\
             #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\n\
             #[repr(u64)]\n\
             pub enum InvocationLabel {\n";
    for (
        Method {
            id,
            interface,
            name,
            ..
        },
        label,
    ) in methods
    {
        let _ = writeln!(out, "    /// `{interface}_{name}`\n    {id} = {label},");
    }
    *out += "}\n";
}

fn syscalls(out: &mut String, interfaces: &Interfaces) {
    *out += "\n/// The numbers of the system calls that every kernel has.\n\
             pub mod syscall {\n";
    let numbers = interfaces.syscalls();
    for (name, number) in numbers.iter().take(interfaces.syscalls.len()) {
        let constant = name.to_shouty_snake_case();
        let _ = writeln!(
            out,
            "    /// `seL4_Sys{name}`\n    pub const {constant}: i64 = {number};"
        );
    }
    *out += "}\n";
}

fn register_struct(out: &mut String, structure: &Struct) {
    let name = rust_name(&structure.name);
    let (count, members) = (structure.members.len(), &structure.members);
    let _ = writeln!(
        out,
        "\n/// The registers of a thread, in the kernel's order (`{}`).\n\
         #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]\n\
         pub struct {name} {{",
        structure.name
    );
    for member in members {
        let _ = writeln!(out, "    /// `{member}`\n    pub {member}: u64,");
    }
    let fields = members.join(", ");
    let values: Vec<String> = members
        .iter()
        .map(|member| format!("self.{member}"))
        .collect();
    let values = values.join(", ");
    let _ = writeln!(
        out,
        "}}\n\nimpl {name} {{\n\
         \x20   /// How many registers there are.\n\
         \x20   pub const COUNT: usize = {count};\n\n\
         \x20   /// The registers in the kernel's order.\n\
         \x20   pub const fn to_words(&self) -> [u64; {count}] {{\n\
         \x20       [{values}]\n\
         \x20   }}\n\n\
         \x20   /// From the registers in the kernel's order.\n\
         \x20   pub const fn from_words(words: [u64; {count}]) -> Self {{\n\
         \x20       let [{fields}] = words;\n\
         \x20       {name} {{ {fields} }}\n\
         \x20   }}\n}}"
    );
}

/// Parameters with their types, and where each lies in the message.
type Layout<'a> = Vec<(&'a Parameter, Type, usize)>;

fn lay_out<'a>(
    parameters: &[&'a Parameter],
    structs: &[Struct],
) -> Result<Layout<'a>, &'a Parameter> {
    let mut end = 0_usize;
    let mut layout = Vec::new();
    for &parameter in parameters {
        let kind = Type::of(parameter, structs).ok_or(parameter)?;
        let start = end.next_multiple_of(kind.bits().min(WORD_BITS));
        end = start + kind.bits();
        layout.push((parameter, kind, start));
    }
    Ok(layout)
}

fn invocation<'a>(
    out: &mut String,
    method: &'a Method,
    structs: &[Struct],
) -> Result<(), &'a Parameter> {
    let is_cap = |parameter: &Parameter| matches!(Type::of(parameter, structs), Some(Type::Cap(_)));
    let (caps, data): (Vec<&Parameter>, Vec<&Parameter>) = method
        .inputs
        .iter()
        .partition(|parameter| is_cap(parameter));
    let data = lay_out(&data, structs)?;
    let results = lay_out(&method.outputs.iter().collect::<Vec<_>>(), structs)?;

    let cap = cap_name(&method.interface);
    let result = result_type(out, method, &cap, &results);

    let _ = writeln!(out, "\nimpl cap::{cap} {{");
    document(out, method);
    if method.inputs.len() > 6 {
        *out += "    #[allow(clippy::too_many_arguments)]\n";
    }
    let _ = write!(out, "    pub fn {}(self", method_name(method));
    for parameter in &method.inputs {
        let kind = Type::of(parameter, structs).ok_or(parameter)?;
        let reference = if matches!(kind, Type::Struct(..)) {
            "&"
        } else {
            ""
        };
        let _ = write!(
            out,
            ", {}: {reference}{}",
            parameter_name(parameter),
            kind.rust()
        );
    }
    let _ = writeln!(out, ") -> Result<{result}, Error> {{");

    let caps: Vec<String> = caps
        .iter()
        .map(|cap| format!("{}.bits()", parameter_name(cap)))
        .collect();
    let answer = if results.is_empty() { "_" } else { "answer" };
    let _ = writeln!(
        out,
        "        let {answer} = invoke(self, InvocationLabel::{}, [{}], [{}])?;",
        method.id,
        caps.join(", "),
        words(&data).join(", "),
    );
    let read: Vec<String> = results
        .iter()
        .map(|(parameter, kind, bit)| {
            let value = kind.read_words(bit / WORD_BITS, bit % WORD_BITS);
            if results.len() > 1 {
                format!("{}: {value}", parameter_name(parameter))
            } else {
                value
            }
        })
        .collect();
    let _ = match results.len() {
        0 => writeln!(out, "        Ok(())\n    }}\n}}"),
        1 => writeln!(out, "        Ok({})\n    }}\n}}", read[0]),
        _ => writeln!(
            out,
            "        Ok({result} {{ {} }})\n    }}\n}}",
            read.join(", ")
        ),
    };
    Ok(())
}

/// The expressions for the words of the message.
fn words(data: &Layout<'_>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (parameter, kind, bit) in data {
        let name = parameter_name(parameter);
        for index in 0..kind.bits().div_ceil(WORD_BITS) {
            let value = kind.to_word(&name, index);
            let (position, shift) = (bit / WORD_BITS + index, bit % WORD_BITS);
            match words.get_mut(position) {
                None => words.push(value),
                Some(word) => *word += &format!(" | {value} << {shift}"),
            }
        }
    }
    words
}

/// What the method answers with; a structure for it is written if there are several results.
fn result_type(out: &mut String, method: &Method, cap: &str, results: &Layout<'_>) -> String {
    match results.as_slice() {
        [] => "()".to_owned(),
        [(_, kind, _)] => kind.rust(),
        several => {
            let name = format!("{cap}{}", method.name);
            let method_name = method_name(method);
            let _ = writeln!(
                out,
                "\n/// What [`{cap}::{method_name}`](cap::{cap}::{method_name}) answers.\n\
                 #[derive(Clone, Copy, Debug, PartialEq, Eq)]\n\
                 pub struct {name} {{"
            );
            for (parameter, kind, _) in several {
                let text = descriptions::parameter(parameter);
                let _ = writeln!(
                    out,
                    "    /// {text}\n    pub {}: {},",
                    parameter_name(parameter),
                    kind.rust()
                );
            }
            *out += "}\n";
            name
        }
    }
}

fn document(out: &mut String, method: &Method) {
    if let Some(text) = descriptions::method(&method.id) {
        let _ = writeln!(out, "    /// {text}\n    ///");
    }
    let _ = writeln!(
        out,
        "    /// Corresponds to `{}_{}`.",
        method.interface, method.name
    );
    if !method.inputs.is_empty() {
        *out += "    ///\n";
    }
    for parameter in &method.inputs {
        let text = descriptions::parameter(parameter);
        let _ = writeln!(out, "    /// - `{}`: {text}", parameter_name(parameter));
    }
    *out += "    ///\n    /// # Errors\n    ///\n\
             \x20   /// What the kernel refuses; see [`Error`].\n";
}
