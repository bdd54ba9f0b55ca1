// SPDX-License-Identifier: MIT OR Apache-2.0
//! The invocations and system calls that seL4 describes in XML.
//!
//! One model, read by [`Interfaces::read`], has two outputs: the C headers that the kernel
//! includes, and the Rust that the bindings are made of. The numbers are not in the
//! descriptions: they follow from the order, so both sides must count alike. The C
//! preprocessor does it while the kernel is compiled, [`Definitions`] does it here.

mod c;
mod condition;
mod descriptions;
mod rust;

use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

use crate::error::{Error, read};

pub use condition::Definitions;

/// The descriptions of invocations. Labels are counted through them in this order.
const LAYERS: [&str; 3] = [
    "libsel4/include/interfaces/sel4.xml",
    "libsel4/sel4_arch_include/x86_64/interfaces/sel4arch.xml",
    "libsel4/arch_include/x86/interfaces/sel4arch.xml",
];
/// The description of system calls.
const SYSCALLS: &str = "include/api/syscall.xml";

/// What the descriptions of one source tree say.
#[derive(Clone, Debug)]
pub struct Interfaces {
    /// The methods of each layer: generic, x86_64, x86.
    layers: [Vec<Method>; LAYERS.len()],
    structs: Vec<Struct>,
    /// System calls of every kernel.
    syscalls: Vec<String>,
    /// System calls of kernels for debugging or benchmarks, with the condition of each group.
    optional_syscalls: Vec<(Option<String>, Vec<String>)>,
}

/// One invocation.
#[derive(Clone, Debug)]
struct Method {
    /// The name of its label, such as `CNodeCopy`.
    id: String,
    /// What it is a method of, such as `seL4_CNode`.
    interface: String,
    /// Its name there, such as `Copy`.
    name: String,
    /// The preprocessor condition under which it exists.
    condition: Option<String>,
    inputs: Vec<Parameter>,
    outputs: Vec<Parameter>,
    /// Where it is described.
    file: PathBuf,
}

/// A parameter or a result.
#[derive(Clone, Debug)]
struct Parameter {
    name: String,
    /// Its C type.
    kind: String,
}

/// A structure of words that is passed as a parameter.
#[derive(Clone, Debug)]
struct Struct {
    /// Its C type.
    name: String,
    members: Vec<String>,
}

impl Interfaces {
    /// Reads the descriptions in an seL4 source tree.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if one is missing, [`Error::Interface`] if one is not as expected.
    pub fn read(source: &Path) -> Result<Self, Error> {
        let mut layers = [const { Vec::new() }; LAYERS.len()];
        let mut structs = Vec::new();
        for (methods, file) in layers.iter_mut().zip(LAYERS) {
            let file = source.join(file);
            parse(&file, |document| {
                for node in elements(document, "method") {
                    methods.push(Method::read(node, &file)?);
                }
                for node in elements(document, "struct") {
                    structs.push(Struct {
                        name: attribute(node, "name")?,
                        members: elements(node, "member")
                            .map(|member| attribute(member, "name"))
                            .collect::<Result<_, _>>()?,
                    });
                }
                Ok(())
            })?;
        }

        let (mut syscalls, mut optional_syscalls) = (Vec::new(), Vec::new());
        parse(&source.join(SYSCALLS), |document| {
            for config in elements(document, "config") {
                let names = elements(config, "syscall")
                    .map(|syscall| attribute(syscall, "name"))
                    .collect::<Result<Vec<_>, _>>()?;
                if config
                    .parent()
                    .is_some_and(|parent| parent.has_tag_name("api"))
                {
                    syscalls.extend(names);
                } else {
                    let condition = config.attribute("condition").map(str::to_owned);
                    optional_syscalls.push((condition, names));
                }
            }
            Ok(())
        })?;
        Ok(Interfaces {
            layers,
            structs,
            syscalls,
            optional_syscalls,
        })
    }

    /// The label of every invocation that a kernel with these definitions has, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Interface`] if a condition is of a form that is not known.
    pub fn labels(&self, definitions: &Definitions) -> Result<Vec<(&str, u64)>, Error> {
        let methods = self.methods(definitions)?;
        Ok(methods
            .into_iter()
            .map(|(method, label)| (method.id.as_str(), label))
            .collect())
    }

    /// The number of every system call, whether or not the kernel has it. The numbers of the
    /// optional ones do not depend on which others there are.
    pub fn syscalls(&self) -> Vec<(&str, i64)> {
        let optional = self.optional_syscalls.iter().flat_map(|(_, names)| names);
        let names = self.syscalls.iter().chain(optional);
        (1..)
            .zip(names)
            .map(|(number, name): (i64, _)| (name.as_str(), -number))
            .collect()
    }

    /// The methods that a kernel with these definitions has, and their labels.
    fn methods(&self, definitions: &Definitions) -> Result<Vec<(&Method, u64)>, Error> {
        let mut label = 0;
        let mut methods = Vec::new();
        for method in self.layers.iter().flatten() {
            let exists = match &method.condition {
                None => true,
                Some(condition) => definitions.satisfy(condition).ok_or_else(|| {
                    let reason = format!(
                        "{}: the condition {condition:?} is not understood",
                        method.id
                    );
                    Error::Interface {
                        file: method.file.clone(),
                        reason,
                    }
                })?,
            };
            if exists {
                label += 1;
                methods.push((method, label));
            }
        }
        Ok(methods)
    }
}

impl Method {
    fn read(node: Node<'_, '_>, file: &Path) -> Result<Self, String> {
        let id = attribute(node, "id")?;
        let interface = node
            .parent_element()
            .filter(|parent| parent.has_tag_name("interface"));
        let interface = interface.ok_or_else(|| format!("{id} is outside of an interface"))?;
        let mut method = Method {
            id,
            interface: attribute(interface, "name")?,
            name: attribute(node, "name")?,
            condition: node.attribute("condition").map(str::to_owned),
            inputs: Vec::new(),
            outputs: Vec::new(),
            file: file.to_owned(),
        };
        for param in elements(node, "param") {
            let parameter = Parameter {
                name: attribute(param, "name")?,
                kind: attribute(param, "type")?,
            };
            match attribute(param, "dir")?.as_str() {
                "in" => method.inputs.push(parameter),
                "out" => method.outputs.push(parameter),
                other => return Err(format!("{}: direction {other:?}", method.id)),
            }
        }
        Ok(method)
    }
}

/// The headers that the kernel expects of its interface descriptions: the path each
/// is included by, and its text.
///
/// # Errors
///
/// Those of [`Interfaces::read`], and [`Error::Interface`] if the first invocation of a layer
/// has a condition: the layers above it could not be counted.
pub fn c_headers(source: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    c::headers(&Interfaces::read(source)?)
}

/// The Rust module that the bindings include: labels, system call numbers, register
/// structures, and one method for each invocation that a kernel with these definitions has.
///
/// # Errors
///
/// Those of [`Interfaces::read`], and [`Error::Interface`] if a condition or the type of a
/// parameter is of a form that is not known.
pub fn rust_bindings(source: &Path, definitions: &Definitions) -> Result<String, Error> {
    rust::module(&Interfaces::read(source)?, definitions)
}

/// Parses an XML file and hands it on; complaints get the file's name.
fn parse(
    file: &Path,
    read_document: impl FnOnce(Node<'_, '_>) -> Result<(), String>,
) -> Result<(), Error> {
    let text = read(file)?;
    let document = Document::parse(&text).map_err(|error| error.to_string());
    document
        .and_then(|document| read_document(document.root()))
        .map_err(|reason| Error::Interface {
            file: file.to_owned(),
            reason,
        })
}

fn elements<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.descendants()
        .filter(move |node| node.has_tag_name(name))
}

fn attribute(node: Node<'_, '_>, name: &str) -> Result<String, String> {
    node.attribute(name)
        .map(str::to_owned)
        .ok_or_else(|| format!("<{}> without {name:?}", node.tag_name().name()))
}

#[cfg(test)]
mod tests;
