// SPDX-License-Identifier: MIT OR Apache-2.0

//! System descriptions: which components an image holds, and what each may do.
//!
//! A description is TOML. It is checked completely before anything is built, and what is
//! wrong is told with file, key and reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::address_map::{self, PAGE_BYTES, STACK_TOP};
use protocol::{Name, limits};
use serde::de::{self, Deserialize, Deserializer};

/// Name of the file that `--input` replaces.
pub const INPUT: &str = "input";

/// The policies of this tree's VAS server that a description may name, by question.
const POLICIES: [(&str, &[&str]); 7] = [
    ("page_tables", &["shared", "mirrored"]),
    ("page_size", &["small", "large", "huge", "largest-fit"]),
    ("placement", &["as-asked", "slot-aligned", "server-chooses"]),
    ("locks", &["cooperative", "enforced", "none"]),
    ("tlb_tags", &["none", "per-attachment"]),
    ("admission", &["everyone", "promised-only"]),
    ("lifetime", &["persistent", "creator", "last-attacher"]),
];

/// Least memory that a system boots in.
const MEMORY_MINIMUM: u64 = 64 << 20;
/// The kernel maps all of physical memory into one slot of its root table.
const MEMORY_MAXIMUM: u64 = address_map::SLOT_BYTES - (2 << 30);
/// Bytes of a capability slot.
const SLOT_BYTES: u64 = 32;

/// What is wrong with a description.
#[derive(Debug, thiserror::Error)]
#[error("{}: {key}: {reason}", file.display())]
pub struct Error {
    /// The description.
    pub file: PathBuf,
    /// Which key of it.
    pub key: String,
    /// What is wrong with its value.
    pub reason: String,
}

/// A number of bytes, written as a number or as text with the suffix K, M or G.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .map(Bytes)
            .ok_or_else(|| format!("`{text}` is no size: write 4096, 64K, 512M or 2G"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in [(30, "G"), (20, "M"), (10, "K")] {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(out, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(out, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a size such as 4096, \"64K\", \"512M\" or \"2G\"")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
                u64::try_from(number)
                    .map(Bytes)
                    .map_err(|_| E::custom("a size is not negative"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Which kernel a system runs on.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Deserialize,
    serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// seL4 5.0.0 with defects mended, its interface as it was
    Stock,
    /// With shared page tables and switching, too
    #[default]
    Extended,
}

impl fmt::Display for Kernel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kernel::Stock => "stock",
            Kernel::Extended => "extended",
        })
    }
}

/// Which Cargo binary a component runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Folder of the package if it is not in this repository.
    pub path: Option<PathBuf>,
    /// The package.
    pub package: String,
    /// Its binary.
    pub binary: String,
    /// The features it is built with.
    pub features: BTreeSet<String>,
}

/// A whole system.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Its name.
    pub name: String,
    /// Memory of the machine.
    pub memory: Bytes,
    /// The kernel.
    #[serde(default)]
    pub kernel: Kernel,
    /// The component that init starts; the system ends with its status.
    pub main: String,
    /// Seconds after which the system counts as hung.
    #[serde(default = "default_time_limit")]
    time_limit: u64,
    /// The VAS server.
    #[serde(default)]
    pub server: Server,
    /// What can be started.
    #[serde(default, rename = "component")]
    pub components: Vec<Component>,
    /// What can be given to components.
    #[serde(default, rename = "file")]
    pub files: Vec<File>,
    /// What the VAS server promises to users.
    #[serde(default, rename = "quota")]
    pub quotas: Vec<Quota>,
}

/// What the VAS server promises to a user: nobody else can have it.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The user.
    pub user: u32,
    /// Memory, page tables included.
    pub memory: Bytes,
    /// Capability slots of the server: one for each page and page table and each further
    /// mapping of them, each handle and attachment, and some to divide memory. With mirrored
    /// tables also for each page of its processes, and of each of their attachments.
    pub slots: u32,
    /// Its processes.
    pub sessions: u32,
    /// VASes that it may make.
    pub vases: u32,
    /// Segments that it may make.
    pub segments: u32,
    /// Attachments of its processes.
    pub attachments: u32,
    /// Handles.
    pub handles: u32,
}

/// The VAS server and its policies.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    package: String,
    binary: String,
    features: BTreeSet<String>,
    path: Option<PathBuf>,
    /// Bytes of its stack.
    pub stack: Bytes,
    /// Binary logarithm of the number of its capability slots.
    pub slots_bits: u8,
    // Its policies; what is not named it chooses itself.
    page_tables: Option<String>,
    page_size: Option<String>,
    placement: Option<String>,
    locks: Option<String>,
    tlb_tags: Option<String>,
    admission: Option<String>,
    lifetime: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            package: "vas-server".into(),
            binary: "vas-server".into(),
            features: ["guest".into()].into(),
            path: None,
            stack: Bytes(256 << 10),
            slots_bits: 16,
            page_tables: None,
            page_size: None,
            placement: None,
            locks: None,
            tlb_tags: None,
            admission: None,
            lifetime: None,
        }
    }
}

impl Server {
    /// Where its program comes from.
    pub fn source(&self) -> Source {
        Source {
            path: self.path.clone(),
            package: self.package.clone(),
            binary: self.binary.clone(),
            features: self.features.clone(),
        }
    }

    /// The policies that are named, by question.
    pub fn policies(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let names = [
            &self.page_tables,
            &self.page_size,
            &self.placement,
            &self.locks,
            &self.tlb_tags,
            &self.admission,
            &self.lifetime,
        ];
        let named = POLICIES.iter().zip(names);
        named.filter_map(|((question, _), name)| Some((*question, name.as_deref()?)))
    }
}

/// A program that can be started, and as whom.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name.
    pub name: String,
    package: String,
    binary: Option<String>,
    #[serde(default)]
    features: BTreeSet<String>,
    path: Option<PathBuf>,
    /// Arguments, separated by spaces.
    #[serde(default)]
    pub arguments: String,
    /// The user it runs as.
    pub user: u32,
    /// The groups it belongs to.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Priority of its threads.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// Threads it may have at one time, with the first.
    #[serde(default = "default_threads")]
    pub threads: u8,
    /// Bytes of the stack of each.
    #[serde(default = "default_stack")]
    pub stack: Bytes,
    /// Names of the files it is given.
    #[serde(default)]
    pub files: Vec<String>,
    /// Names of the endpoints it is given; components that name the same one can talk to each
    /// other.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Whether it may start components.
    #[serde(default)]
    pub may_spawn: bool,
}

impl Component {
    /// Where its program comes from.
    pub fn source(&self) -> Source {
        Source {
            path: self.path.clone(),
            package: self.package.clone(),
            binary: self.binary.clone().unwrap_or_else(|| self.name.clone()),
            features: self.features.clone(),
        }
    }
}

/// A file of the host that is put into the image.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name in the image.
    pub name: String,
    /// Where it is on the host.
    pub path: PathBuf,
}

fn default_threads() -> u8 {
    1
}

fn default_time_limit() -> u64 {
    300
}

fn default_priority() -> u8 {
    100
}

fn default_stack() -> Bytes {
    Bytes(64 << 10)
}

impl System {
    /// Reads and checks a description. Paths in it are relative to `base`.
    ///
    /// # Errors
    /// Says which key is wrong, and why.
    pub fn load(file: &Path, base: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|reason| Error {
            file: file.to_owned(),
            key: "(file)".into(),
            reason: reason.to_string(),
        })?;
        let mut system = Self::parse(&text).map_err(|Wrong { key, reason }| Error {
            file: file.to_owned(),
            key,
            reason,
        })?;
        for path in system.paths() {
            *path = base.join(&*path);
        }
        Ok(system)
    }

    /// The key of each component and of the server, and where its program comes from.
    pub fn sources(&self) -> impl Iterator<Item = (String, Source)> {
        let server = ("server".to_owned(), self.server.source());
        let components = self.components.iter().map(|component| {
            let key = format!("component.{}", component.name);
            (key, component.source())
        });
        std::iter::once(server).chain(components)
    }

    /// How long it may run.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(self.time_limit)
    }

    /// Index of the component of that name.
    pub fn component(&self, name: &str) -> Option<usize> {
        self.components
            .iter()
            .position(|component| component.name == name)
    }

    /// Index of the file of that name.
    pub fn file(&self, name: &str) -> Option<usize> {
        self.files.iter().position(|file| file.name == name)
    }

    /// The names of all endpoints, each once.
    pub fn endpoints(&self) -> BTreeSet<&String> {
        let components = self.components.iter();
        components
            .flat_map(|component| &component.endpoints)
            .collect()
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let server = self.server.path.iter_mut();
        let components = self
            .components
            .iter_mut()
            .filter_map(|component| component.path.as_mut());
        let files = self.files.iter_mut().map(|file| &mut file.path);
        server.chain(components).chain(files)
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let system: System = toml::from_str(text).map_err(|error| {
            // Of an error in a value the line is known, which begins with the key.
            let place = error.span().map(|span| {
                let line_start = text[..span.start].rfind('\n').map_or(0, |end| end + 1);
                let line = text[line_start..].lines().next().unwrap_or_default();
                let key = line.split('=').next().unwrap_or_default().trim();
                let number = text[..span.start].matches('\n').count() + 1;
                format!("line {number}, `{key}`")
            });
            Wrong {
                key: place.unwrap_or_else(|| "(file)".into()),
                reason: error.message().replace('\n', " "),
            }
        })?;
        system.check()?;
        Ok(system)
    }

    /// Whether everything fits together, once it has been read or changed.
    pub fn check(&self) -> Result<(), Wrong> {
        check_name("name", &self.name)?;
        check_memory("memory", self.memory)?;
        check_range("time_limit", self.time_limit, 1, 24 * 60 * 60)?;

        let server = &self.server;
        check_range(
            "server.slots_bits",
            server.slots_bits,
            12,
            limits::SERVER_SLOTS_BITS,
        )?;
        let bits = server.slots_bits;
        let needs = Bytes((SLOT_BYTES << bits) + limits::server_heap_bytes(bits));
        let share = Bytes(self.memory.0 / image::INIT_SHARE);
        if needs > share {
            let reason = format!("slots and heap take {needs}, of {share} that init has");
            return wrong("server.slots_bits", reason);
        }
        check_stacks("server.stack", server.stack, 1)?;
        for (question, name) in server.policies() {
            let key = format!("server.{question}");
            check_name(&key, name)?;
            // A server from elsewhere may have policies of its own.
            let known = POLICIES.iter().find(|(other, _)| *other == question);
            if let (None, Some((_, known))) = (&server.path, known) {
                check_choice(&key, name, known)?;
            }
        }
        if server.page_tables.as_deref() == Some("shared") && self.kernel == Kernel::Stock {
            let reason = "`shared` needs kernel = \"extended\"";
            return wrong("server.page_tables", reason);
        }

        let mut seen = BTreeSet::new();
        for (index, file) in self.files.iter().enumerate() {
            check_name(&format!("file[{index}].name"), &file.name)?;
            if !seen.insert(&file.name) {
                let key = format!("file[{index}].name");
                return wrong(key, format!("there is another file `{}`", file.name));
            }
        }

        let mut seen = BTreeSet::new();
        for (index, component) in self.components.iter().enumerate() {
            let name = &component.name;
            check_name(&format!("component[{index}].name"), name)?;
            if !seen.insert(name) {
                let key = format!("component[{index}].name");
                return wrong(key, format!("there is another component `{name}`"));
            }
            self.check_component(component)?;
        }
        self.check_quotas()?;
        if self.component(&self.main).is_none() {
            return wrong("main", format!("there is no component `{}`", self.main));
        }
        self.check_sources()
    }

    /// That memory suffices exactly is seen when the VAS server starts.
    fn check_quotas(&self) -> Result<(), Wrong> {
        if self.quotas.len() > limits::QUOTAS {
            return wrong("quota", format!("more than {}", limits::QUOTAS));
        }
        let mut seen = BTreeSet::new();
        for quota in &self.quotas {
            let user = quota.user;
            if !seen.insert(user) {
                return wrong("quota.user", format!("user {user} has two quotas"));
            }
            if !quota.memory.0.is_multiple_of(PAGE_BYTES) {
                let reason = format!("{} is no multiple of 4K", quota.memory);
                return wrong(format!("quota.{user}.memory"), reason);
            }
        }
        type Value = fn(&Quota) -> u64;
        let values: [(&str, Value, u64); 7] = [
            ("memory", |quota| quota.memory.0, self.memory.0),
            (
                "slots",
                |quota| quota.slots.into(),
                1 << self.server.slots_bits,
            ),
            (
                "sessions",
                |quota| quota.sessions.into(),
                limits::SESSIONS as u64,
            ),
            ("vases", |quota| quota.vases.into(), limits::VASES as u64),
            (
                "segments",
                |quota| quota.segments.into(),
                limits::SEGMENTS as u64,
            ),
            (
                "attachments",
                |quota| quota.attachments.into(),
                limits::ATTACHMENTS as u64,
            ),
            (
                "handles",
                |quota| quota.handles.into(),
                limits::HANDLES as u64,
            ),
        ];
        for (key, value, most) in values {
            let promised = self.quotas.iter().map(|quota| u128::from(value(quota)));
            if promised.sum::<u128>() > most.into() {
                let reason = format!("more is promised than {most}, which is all there is");
                return wrong(format!("quota.{key}"), reason);
            }
        }
        Ok(())
    }

    fn check_component(&self, component: &Component) -> Result<(), Wrong> {
        let key = |key| format!("component.{}.{key}", component.name);
        if component.arguments.len() > limits::ARGUMENT_BYTES {
            let reason = format!("longer than {} bytes", limits::ARGUMENT_BYTES);
            return wrong(key("arguments"), reason);
        }
        if component.groups.len() > limits::GROUPS {
            return wrong(key("groups"), format!("more than {}", limits::GROUPS));
        }
        check_range(
            &key("priority"),
            component.priority,
            1,
            image::COMPONENT_PRIORITY,
        )?;
        check_range(&key("threads"), component.threads, 1, limits::THREADS as u8)?;
        check_stacks(&key("stack"), component.stack, component.threads)?;
        if component.files.len() > limits::FILES {
            return wrong(key("files"), format!("more than {}", limits::FILES));
        }
        let mut seen = BTreeSet::new();
        for file in &component.files {
            if self.file(file).is_none() {
                return wrong(key("files"), format!("there is no file `{file}`"));
            }
            if !seen.insert(file) {
                return wrong(key("files"), format!("`{file}` is named twice"));
            }
        }
        if component.endpoints.len() > limits::ENDPOINTS {
            return wrong(key("endpoints"), format!("more than {}", limits::ENDPOINTS));
        }
        let mut seen = BTreeSet::new();
        for endpoint in &component.endpoints {
            check_name(&key("endpoints"), endpoint)?;
            if !seen.insert(endpoint) {
                return wrong(key("endpoints"), format!("`{endpoint}` is named twice"));
            }
        }
        for endpoint in seen {
            let names_it = |other: &&Component| other.endpoints.contains(endpoint);
            if self.components.iter().filter(names_it).count() < 2 {
                let reason = format!("no other component names `{endpoint}`");
                return wrong(key("endpoints"), reason);
            }
        }
        Ok(())
    }

    /// One binary is built once, and two do not overwrite each other.
    fn check_sources(&self) -> Result<(), Wrong> {
        let mut sources = BTreeMap::new();
        for (key, source) in self.sources() {
            let first = sources
                .entry(source.binary.clone())
                .or_insert_with(|| source.clone());
            if (&first.path, &first.package) != (&source.path, &source.package) {
                let binary = &source.binary;
                let other = &first.package;
                return wrong(
                    format!("{key}.binary"),
                    format!("package `{other}` also has a binary `{binary}`"),
                );
            }
            if first.features != source.features {
                return wrong(
                    format!("{key}.features"),
                    "another component runs the same binary with other features",
                );
            }
        }
        Ok(())
    }
}

/// What is wrong in a file not yet named.
#[derive(Debug)]
pub struct Wrong {
    pub key: String,
    pub reason: String,
}

fn wrong<T>(key: impl Into<String>, reason: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        key: key.into(),
        reason: reason.into(),
    })
}

fn check_name(key: &str, name: &str) -> Result<(), Wrong> {
    match Name::new(name) {
        Ok(_) => Ok(()),
        Err(_) => wrong(
            key,
            format!(
                "{name:?} is no name: 1 to {} bytes without control characters",
                limits::NAME_BYTES
            ),
        ),
    }
}

fn check_range<T: PartialOrd + fmt::Display>(
    key: &str,
    value: T,
    minimum: T,
    maximum: T,
) -> Result<(), Wrong> {
    if value < minimum || value > maximum {
        return wrong(key, format!("{value} is not {minimum} to {maximum}"));
    }
    Ok(())
}

fn check_multiple(key: &str, value: Bytes, unit: u64) -> Result<(), Wrong> {
    if !value.0.is_multiple_of(unit) {
        return wrong(key, format!("{value} is no multiple of {}", Bytes(unit)));
    }
    Ok(())
}

fn check_memory(key: &str, memory: Bytes) -> Result<(), Wrong> {
    let (minimum, maximum) = (Bytes(MEMORY_MINIMUM), Bytes(MEMORY_MAXIMUM));
    check_range(key, memory, minimum, maximum)?;
    check_multiple(key, memory, 1 << 20)
}

/// Reads a size of memory that a system can have.
pub fn parse_memory(text: &str) -> Result<Bytes, String> {
    let memory = text.parse()?;
    match check_memory("memory", memory) {
        Ok(()) => Ok(memory),
        Err(Wrong { reason, .. }) => Err(reason),
    }
}

fn check_stacks(key: &str, stack: Bytes, threads: u8) -> Result<(), Wrong> {
    // The rest of the addresses below the top of the stack is for the program.
    let most = STACK_TOP / 4 / u64::from(threads);
    check_range(key, stack, Bytes(PAGE_BYTES), Bytes(most))?;
    check_multiple(key, stack, PAGE_BYTES)
}

fn check_choice(key: &str, value: &str, choices: &[&str]) -> Result<(), Wrong> {
    if !choices.contains(&value) {
        let choices = choices.join("`, `");
        return wrong(key, format!("`{value}` is unknown; there is `{choices}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vas_server::fake::Fake;
    use vas_server::policy;

    /// A good description; `change` may spoil it.
    fn description(change: impl Fn(String) -> String) -> String {
        change(
            r#"name = "test"
memory = "512M"
main = "writer"

[server]
slots_bits = 16

[[component]]
name = "writer"
package = "demo"
arguments = "a b"
user = 1000
groups = [100]
files = ["input"]
may_spawn = true

[[component]]
name = "reader"
package = "demo"
binary = "reader"
user = 1001
priority = 90
stack = "128K"

[[file]]
name = "input"
path = "README.md"
"#
            .to_owned(),
        )
    }

    /// Replaces a line of the good description and says what is said of it.
    #[track_caller]
    fn refused(old: &str, new: &str) -> (String, String) {
        let good = description(|text| text);
        assert!(good.contains(old), "{old:?} is not in the description");
        let wrong = System::parse(&good.replacen(old, new, 1)).expect_err("accepted");
        (wrong.key, wrong.reason)
    }

    #[track_caller]
    fn assert_refused(old: &str, new: &str, key: &str, reason: &str) {
        let (told_key, told_reason) = refused(old, new);
        assert!(told_key.contains(key), "key: {told_key}");
        assert!(told_reason.contains(reason), "reason: {told_reason}");
    }

    #[test]
    fn a_good_description_is_accepted_and_has_its_defaults() {
        let system = System::parse(&description(|text| text)).unwrap();
        assert_eq!(system.name, "test");
        assert_eq!(system.memory, Bytes(512 << 20));
        assert_eq!(system.kernel, Kernel::Extended);
        assert_eq!(system.component("reader"), Some(1));
        assert_eq!(system.file("input"), Some(0));
        assert_eq!(system.server.policies().count(), 0);
        assert_eq!(system.server.source().features, ["guest".into()].into());
        let writer = &system.components[0];
        assert_eq!(writer.source().binary, "writer");
        assert_eq!(writer.priority, 100);
        assert_eq!(writer.threads, 1);
        assert_eq!(writer.stack, Bytes(64 << 10));
        assert!(writer.may_spawn && !system.components[1].may_spawn);
        assert_eq!(system.components[1].stack, Bytes(128 << 10));
    }

    #[test]
    fn the_descriptions_of_this_tree_are_accepted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systems");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let system = System::load(&path, Path::new("/")).unwrap();
                assert_eq!(path.file_stem().unwrap(), system.name.as_str());
                names.push(system.name);
            }
        }
        assert!(names.iter().any(|name| name == "demo"), "{names:?}");
    }

    #[test]
    fn paths_are_relative_to_the_base_and_the_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.toml");
        std::fs::write(&file, description(|text| text)).unwrap();
        let system = System::load(&file, Path::new("/base")).unwrap();
        assert_eq!(system.files[0].path, Path::new("/base/README.md"));

        std::fs::write(&file, description(|text| text.replace("512M", "1M"))).unwrap();
        let error = System::load(&file, Path::new("/base")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{}: memory: 1M is not 64M to 510G", file.display())
        );
    }

    #[test]
    fn a_missing_file_is_refused() {
        let error = System::load(Path::new("missing.toml"), Path::new("/")).unwrap_err();
        assert!(error.to_string().starts_with("missing.toml: "));
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        assert_refused("main = ", "main ", "line 3", "");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let reason = "unknown field `colour`";
        assert_refused("main =", "colour = 1\nmain =", "line 3, `colour`", reason);
        assert_refused("user = 1000", "user = 1000\ncolour = 1", "`colour`", reason);
        assert_refused("slots_bits", "colour = 1\nslots_bits", "`colour`", reason);
        assert_refused("path = ", "colour = 1\npath = ", "`colour`", reason);
    }

    #[test]
    fn a_missing_key_is_refused() {
        for (line, key) in [
            ("name = \"test\"\n", "name"),
            ("memory = \"512M\"\n", "memory"),
            ("main = \"writer\"\n", "main"),
            ("package = \"demo\"\n", "package"),
            ("user = 1000\n", "user"),
            ("path = \"README.md\"\n", "path"),
        ] {
            assert_refused(line, "", "line", &format!("missing field `{key}`"));
        }
    }

    #[test]
    fn more_threads_than_there_may_be_or_that_have_no_room_are_refused() {
        for threads in [0, limits::THREADS + 1] {
            let line = format!("threads = {threads}");
            let reason = format!("{threads} is not 1 to {}", limits::THREADS);
            assert_refused(
                "may_spawn = true",
                &line,
                "component.writer.threads",
                &reason,
            );
        }
        // The stacks of all have as much room as one alone.
        let stacks = "stack = \"256M\"\nthreads = 3";
        assert_refused(
            "stack = \"128K\"",
            stacks,
            "component.reader.stack",
            "is not 4K to",
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert_refused("user = 1000", "user = \"root\"", "`user`", "invalid type");
        assert_refused("user = 1000", "user = -1", "`user`", "invalid value");
        assert_refused("may_spawn = true", "may_spawn = 1", "`may_spawn`", "");
        assert_refused("priority = 90", "priority = 256", "`priority`", "");
    }

    #[test]
    fn an_unknown_kernel_is_refused() {
        assert_refused(
            "main =",
            "kernel = \"other\"\nmain =",
            "`kernel`",
            "unknown variant `other`",
        );
    }

    #[test]
    fn a_main_that_is_no_component_is_refused() {
        assert_refused("main = \"writer\"", "main = \"other\"", "main", "`other`");
    }

    #[test]
    fn a_description_without_components_is_refused() {
        let error = System::parse("name = \"x\"\nmemory = \"64M\"\nmain = \"x\"").unwrap_err();
        assert_eq!(error.key, "main");
    }

    #[test]
    fn two_components_of_one_name_are_refused() {
        assert_refused(
            "name = \"reader\"",
            "name = \"writer\"",
            "component[1].name",
            "another component `writer`",
        );
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let file = "[[file]]\nname = \"input\"\npath = \"x\"\n";
        let twice = format!("{file}{file}");
        let good = "[[file]]\nname = \"input\"\npath = \"README.md\"\n";
        assert_refused(good, &twice, "file[1].name", "another file `input`");
    }

    #[test]
    fn names_that_the_protocol_does_not_allow_are_refused() {
        let long = "n".repeat(limits::NAME_BYTES + 1);
        for name in ["", "a\\tb", &long] {
            let name = format!("name = \"{name}\"");
            assert_refused("name = \"test\"", &name, "name", "is no name");
            assert_refused("name = \"reader\"", &name, "component[1].name", "no name");
            assert_refused("name = \"input\"", &name, "file[0].name", "no name");
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for size in ["\"\"", "\"M\"", "\"12Q\"", "\"-1M\"", "\"99999999999G\""] {
            let size = format!("memory = {size}");
            assert_refused("memory = \"512M\"", &size, "`memory`", "is no size");
        }
        assert_refused("memory = \"512M\"", "memory = -1", "`memory`", "negative");
        assert_refused("memory = \"512M\"", "memory = true", "`memory`", "");
    }

    #[test]
    fn too_little_or_too_much_or_odd_memory_is_refused() {
        assert_refused("\"512M\"", "\"32M\"", "memory", "not 64M to 510G");
        assert_refused("\"512M\"", "\"511G\"", "memory", "not 64M to 510G");
        assert_refused("\"512M\"", "67108865", "memory", "no multiple of 1M");
        assert_eq!(parse_memory("64M"), Ok(Bytes(64 << 20)));
        assert_eq!(parse_memory("1M"), Err("1M is not 64M to 510G".into()));
    }

    #[test]
    fn an_impossible_stack_is_refused() {
        let key = "component.reader.stack";
        assert_refused("\"128K\"", "0", key, "0 is not 4K");
        assert_refused("\"128K\"", "\"1G\"", key, "1G is not 4K");
        assert_refused("\"128K\"", "5000", key, "no multiple of 4K");
        assert_refused(
            "slots_bits = 16",
            "stack = 1",
            "server.stack",
            "1 is not 4K",
        );
    }

    #[test]
    fn a_priority_that_could_starve_the_server_is_refused() {
        let key = "component.reader.priority";
        assert_refused("priority = 90", "priority = 0", key, "not 1 to 253");
        assert_refused("priority = 90", "priority = 254", key, "not 1 to 253");
    }

    #[test]
    fn shared_page_tables_are_refused_with_the_stock_kernel() {
        assert_refused(
            "main = \"writer\"\n\n[server]",
            "main = \"writer\"\nkernel = \"stock\"\n\n[server]\npage_tables = \"shared\"",
            "server.page_tables",
            "needs kernel = \"extended\"",
        );
    }

    #[test]
    fn the_policies_are_those_of_the_server() {
        fn names<T>(answers: Vec<(&'static str, T)>) -> Vec<&'static str> {
            answers.into_iter().map(|(name, _)| name).collect()
        }
        let mut kernel = Fake::new(1, &[]).extended();
        let answers = policy::Answers::new(&mut kernel);
        let known = [
            names(answers.page_tables),
            names(answers.page_size),
            names(answers.placement),
            names(answers.locks),
            names(answers.tlb_tags),
            names(answers.admission),
            names(answers.lifetime),
        ];
        assert_eq!(POLICIES.map(|(question, _)| question), policy::QUESTIONS);
        assert_eq!(POLICIES.map(|(_, names)| names.to_vec()), known);
    }

    #[test]
    fn every_policy_can_be_named_and_is_told_with_its_question() {
        for (index, (question, names)) in POLICIES.into_iter().enumerate() {
            for name in names {
                let named = format!("{question} = \"{name}\"\nslots_bits");
                let text = description(|text| text.replace("slots_bits", &named));
                let system = System::parse(&text).unwrap();
                assert!(system.server.policies().eq([(question, *name)]), "{named}");
            }
            let key = format!("server.{question}");
            let named = format!("{question} = \"other\"");
            let known = names.join("`, `");
            let reason = format!("`other` is unknown; there is `{known}`");
            assert_refused("slots_bits = 16", &named, &key, &reason);
            assert!(index < limits::POLICIES);
        }
    }

    #[test]
    fn a_server_from_elsewhere_may_have_policies_of_its_own() {
        let server = "path = \"/elsewhere\"\npage_size = \"mixed\"\nslots_bits";
        let text = description(|text| text.replace("slots_bits", server));
        assert!(System::parse(&text).is_ok());
        assert_refused(
            "slots_bits",
            "path = \"/elsewhere\"\npage_size = \"\"\nslots_bits",
            "server.page_size",
            "is no name",
        );
    }

    #[test]
    fn a_server_with_too_few_or_too_many_slots_is_refused() {
        let key = "server.slots_bits";
        assert_refused("slots_bits = 16", "slots_bits = 11", key, "not 12 to 24");
        assert_refused("slots_bits = 16", "slots_bits = 25", key, "not 12 to 24");
        let reason = "take 164M, of 128M that init has";
        assert_refused("slots_bits = 16", "slots_bits = 20", key, reason);
    }

    #[test]
    fn a_file_that_is_unknown_or_named_twice_is_refused() {
        let key = "component.writer.files";
        assert_refused("[\"input\"]", "[\"inputt\"]", key, "no file `inputt`");
        assert_refused("[\"input\"]", "[\"input\", \"input\"]", key, "twice");
    }

    #[test]
    fn quotas_that_cannot_be_kept_or_are_two_for_one_user_are_refused() {
        let quotas = |quotas: &[(u32, &str, u32)]| {
            let tables = quotas.iter().map(|(user, memory, vases)| {
                format!(
                    "[[quota]]\nuser = {user}\nmemory = \"{memory}\"\nvases = {vases}\n\
                     slots = 16\nsessions = 1\nsegments = 1\nattachments = 1\nhandles = 1\n"
                )
            });
            tables.collect::<String>() + "\n[[file]]"
        };
        let good = quotas(&[(1, "300M", 500), (2, "4K", 524)]);
        let system = System::parse(&description(|text| text.replace("[[file]]", &good)));
        assert_eq!(system.unwrap().quotas.len(), 2);
        let refuse = |spoilt: &[(u32, &str, u32)], key, reason| {
            assert_refused("[[file]]", &quotas(spoilt), key, reason);
        };
        let twice = [(1, "1M", 1), (1, "1M", 1)];
        refuse(&twice, "quota.user", "user 1 has two quotas");
        refuse(&[(1, "5", 1)], "quota.1.memory", "5 is no multiple of 4K");
        let memory = [(1, "300M", 1), (2, "300M", 1)];
        refuse(&memory, "quota.memory", "more is promised than 536870912");
        let vases = [(1, "1M", 500), (2, "1M", 525)];
        refuse(&vases, "quota.vases", "more is promised than 1024");
        let many: Vec<_> = (0..=limits::QUOTAS as u32)
            .map(|user| (user, "4K", 1))
            .collect();
        refuse(&many, "quota", "more than 16");
    }

    #[test]
    fn an_endpoint_that_is_no_name_named_twice_or_shared_with_nobody_is_refused() {
        let key = "component.writer.endpoints";
        for (list, reason) in [
            ("[\"\"]", "no name"),
            ("[\"e\", \"e\"]", "twice"),
            ("[\"e\"]", "no other component names `e`"),
        ] {
            let with = format!("user = 1000\nendpoints = {list}");
            assert_refused("user = 1000", &with, key, reason);
        }
    }

    #[test]
    fn components_that_name_the_same_endpoints_in_any_order_share_them() {
        let text = description(|text| {
            text.replace("user = 1000", "user = 1000\nendpoints = [\"b\", \"a\"]")
                .replace("user = 1001", "user = 1001\nendpoints = [\"a\", \"b\"]")
        });
        let system = System::parse(&text).unwrap();
        assert!(system.endpoints().into_iter().eq(["a", "b"]));
    }

    #[test]
    fn more_than_the_protocol_allows_is_refused() {
        let endpoints: Vec<String> = (0..=limits::ENDPOINTS).map(|e| e.to_string()).collect();
        let with = format!("user = 1000\nendpoints = {endpoints:?}");
        let key = "component.writer.endpoints";
        assert_refused("user = 1000", &with, key, "more than 8");

        let files = format!("{:?}", vec!["input"; limits::FILES + 1]);
        let key = "component.writer.files";
        assert_refused("[\"input\"]", &files, key, "more than 8");

        let groups = format!("{:?}", vec![1; limits::GROUPS + 1]);
        assert_refused("[100]", &groups, "component.writer.groups", "more than 8");

        let arguments = "a".repeat(limits::ARGUMENT_BYTES + 1);
        let key = "component.writer.arguments";
        assert_refused("a b", &arguments, key, "longer than 512 bytes");
    }

    #[test]
    fn binaries_that_would_overwrite_each_other_are_refused() {
        assert_refused(
            "package = \"demo\"\nbinary = \"reader\"",
            "package = \"other\"\nbinary = \"writer\"",
            "component.reader.binary",
            "package `demo` also has a binary `writer`",
        );
        assert_refused(
            "binary = \"reader\"",
            "binary = \"writer\"\nfeatures = [\"more\"]",
            "component.reader.features",
            "other features",
        );
    }

    #[test]
    fn one_binary_may_be_two_components() {
        let text = description(|text| text.replace("\"reader\"\nuser", "\"writer\"\nuser"));
        assert!(System::parse(&text).is_ok());
    }

    #[test]
    fn a_time_limit_of_zero_is_refused() {
        assert_refused("main =", "time_limit = 0\nmain =", "time_limit", "not 1 to");
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["0", "4095", "4K", "3M", "510G", "1025K"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        assert_eq!("2048K".parse::<Bytes>().unwrap().to_string(), "2M");
    }
}
