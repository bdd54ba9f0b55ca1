// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the source to a kernel that QEMU boots.
//!
//! The kernel is one translation unit: a file that includes every C file in turn, which
//! lets the compiler see all of it at once, as upstream's Makefile does. With four
//! assembler files it is linked by the kernel's own script. Nothing is compiled again
//! unless what the compiler would see has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, at, write_if_changed};
use crate::source::{self, Patch, Series, sorted_entries};
use crate::{Config, bitfield, interfaces};

/// Where the include paths begin, below the source and the generated headers.
const SOURCE_INCLUDES: [&str; 6] = [
    "include",
    "include/64",
    "include/arch/x86",
    "include/arch/x86/arch/64",
    "include/plat/pc99",
    "include/plat/pc99/plat/64",
];
const HEADER_INCLUDES: [&str; 3] = ["", "64", "plat/64"];

/// Bitfield descriptions that become headers, and where those are expected.
const BITFIELDS: [(&str, &str); 3] = [
    (
        "include/arch/x86/arch/object/structures.bf",
        "arch/object/structures_gen.h",
    ),
    (
        "include/plat/pc99/plat/64/plat_mode/machine/hardware.bf",
        "plat/64/plat_mode/machine/hardware_gen.h",
    ),
    (
        "include/64/mode/api/shared_types.bf",
        "64/mode/api/shared_types_gen.h",
    ),
];

/// Bitfield descriptions of user space, and where they include from.
const USER_BITFIELDS: [&str; 3] = [
    "libsel4/include/sel4/shared_types_64.bf",
    "libsel4/include/sel4/types_64.bf",
    "libsel4/sel4_arch_include/x86_64/sel4/sel4_arch/types.bf",
];
const USER_INCLUDES: [&str; 3] = [
    "libsel4/include",
    "libsel4/arch_include/x86",
    "libsel4/sel4_arch_include/x86_64",
];

/// Folders of C files, besides those directly in `src`.
const C_FOLDERS: [&str; 10] = [
    "api",
    "arch/x86",
    "benchmark",
    "fastpath",
    "kernel",
    "machine",
    "model",
    "object",
    "plat/pc99",
    "smp",
];
/// C files that are not for every x86_64 kernel.
const C_EXCLUDED: [&str; 3] = [
    // Other word size.
    "src/arch/x86/32",
    // Needs a profiler that is not configured.
    "src/machine/profiler.c",
    // Debug kernels only: a description of all capabilities, for a host tool.
    "src/arch/x86/machine/capdl.c",
];
const CAPDL: &str = "src/arch/x86/machine/capdl.c";
/// The domain schedule comes last.
const SCHEDULE: &str = "src/config/default_domain.c";

/// Assembler files, in link order.
const ASSEMBLER: [&str; 4] = [
    "src/arch/x86/64/machine_asm.S",
    "src/arch/x86/64/traps.S",
    "src/arch/x86/64/head.S",
    "src/arch/x86/multiboot.S",
];
const LINKER_SCRIPT: &str = "src/plat/pc99/linker.lds";

/// Definitions that the kernel expects on the command line.
const DEFINITIONS: [&str; 6] = [
    "-DHAVE_AUTOCONF",
    "-DARCH_X86",
    "-DX86_64",
    "-D__KERNEL_64__",
    "-DKERNEL_64=y",
    "-D__X86_64__=y",
];

/// How C is compiled. Warnings are silenced: the source is not ours, and compilers have
/// grown stricter since 2017. `-mpopcnt`: with several cores the kernel counts bits, and
/// GCC would otherwise call its library.
const C_FLAGS: [&str; 17] = [
    "--std=c99",
    "-O2",
    "-w",
    "-m64",
    "-mcmodel=kernel",
    "-mpopcnt",
    "-mno-mmx",
    "-mno-sse",
    "-mno-sse2",
    "-mno-3dnow",
    "-nostdlib",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
    "-fcf-protection=none",
];

/// A kernel that has been built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The 32-bit ELF that a multiboot loader takes (QEMU's `-kernel`).
    pub image: PathBuf,
    /// The 64-bit ELF with symbols, for a debugger.
    pub elf: PathBuf,
    /// The patched source that it was built from.
    pub source: PathBuf,
    /// Whether it was compiled now; false if it was up to date.
    pub rebuilt: bool,
}

/// Builds the kernel that `config` describes in the folder `out`, or finds it there.
///
/// # Errors
///
/// [`Error::Config`] if there is no such kernel, [`Error::Tool`] with the compiler's
/// output if it fails, and the errors of [`source::patched`] and of the generators.
pub fn build(config: &Config, series: Series, out: &Path) -> Result<Kernel, Error> {
    build_patched(config, &series.patches()?, out)
}

/// As [`build`], with patches as given: a test can leave out what it wants to miss.
///
/// # Errors
///
/// As [`build`].
pub fn build_patched(config: &Config, patches: &[Patch], out: &Path) -> Result<Kernel, Error> {
    let source = source::patched_copy(&source::locate()?, out, patches)?;
    let headers = out.join("headers");
    write_headers(config, &source, &headers)?;
    compile(config, source, &headers, out)
}

/// The types that user space shares with the kernel, as Rust to be included in a module
/// of the bindings (libsel4's `.bf` files: message information, rights, capability data,
/// faults). `scratch` is a folder for the configuration header.
///
/// # Errors
///
/// [`Error::Config`], [`Error::Tool`] if the preprocessor fails, [`Error::Bitfield`].
pub fn user_types(config: &Config, source: &Path, scratch: &Path) -> Result<String, Error> {
    write_if_changed(&scratch.join("autoconf.h"), &config.header()?)?;
    let mut includes = vec![scratch.to_owned()];
    includes.extend(USER_INCLUDES.map(|folder| source.join(folder)));
    let mut types = String::new();
    for description in USER_BITFIELDS {
        let specification = bitfield::read(&source.join(description), &includes)?;
        types += &bitfield::rust_module(&specification);
    }
    Ok(types)
}

/// Writes all headers that the kernel needs beside its source: the configuration, and
/// what is generated from its descriptions.
fn write_headers(config: &Config, source: &Path, headers: &Path) -> Result<(), Error> {
    write_if_changed(&headers.join("autoconf.h"), &config.header()?)?;
    for (path, text) in interfaces::c_headers(source)? {
        write_if_changed(&headers.join(path), &text)?;
    }
    let mut includes = vec![headers.to_owned()];
    includes.extend(SOURCE_INCLUDES.map(|folder| source.join(folder)));
    for (description, header) in BITFIELDS {
        let specification = bitfield::read(&source.join(description), &includes)?;
        write_if_changed(&headers.join(header), &bitfield::c_header(&specification))?;
    }
    Ok(())
}

/// Compiles and links, unless that was done already with the same input.
fn compile(config: &Config, source: PathBuf, headers: &Path, out: &Path) -> Result<Kernel, Error> {
    let kernel = Kernel {
        image: out.join("kernel32.elf"),
        elf: out.join("kernel.elf"),
        source,
        rebuilt: true,
    };
    let source = &kernel.source;
    let mut flags: Vec<String> = DEFINITIONS.map(str::to_owned).to_vec();
    if config.debug {
        flags.extend(["-DDEBUG", "-ggdb", "-g3"].map(str::to_owned));
    }
    flags.push("-nostdinc".to_owned());
    // Ours first: the source has a configuration header of its own.
    flags.extend(HEADER_INCLUDES.map(|folder| include(&headers.join(folder))));
    flags.extend(SOURCE_INCLUDES.map(|folder| include(&source.join(folder))));
    // Names of files, which assertions print, as they are in the package.
    flags.push(format!("-ffile-prefix-map={}/=", source.display()));

    let unit = translation_unit(source, config.debug)?;
    let stamp_file = out.join(".built-from");
    let stamp = stamp(
        source,
        headers,
        &[&unit, &flags.join("\0"), &C_FLAGS.join("\0")],
    )?;
    if kernel.image.is_file()
        && kernel.elf.is_file()
        && fs::read(&stamp_file).is_ok_and(|old| old == stamp.as_bytes())
    {
        return Ok(Kernel {
            rebuilt: false,
            ..kernel
        });
    }

    let mut objects = Vec::new();
    for (number, file) in ASSEMBLER.into_iter().enumerate() {
        let object = out.join(format!("assembler{number}.o"));
        Tool::new("gcc", format!("assembling {file}"))
            .args(&flags)
            .args(["-Wa,--64", "-c", "-o"])
            .args([&object, &source.join(file)])
            .run()?;
        objects.push(object);
    }
    let (file, object) = (out.join("kernel.c"), out.join("kernel.o"));
    write_if_changed(&file, &unit)?;
    Tool::new("gcc", "compiling the kernel")
        .args(C_FLAGS)
        .args(&flags)
        .args(["-c", "-o"])
        .args([&object, &file])
        .run()?;
    objects.push(object);

    let script = out.join("linker.lds");
    Tool::new("gcc", "preprocessing the linker script")
        .args(&flags)
        .args(["-E", "-P", "-x", "c", "-o"])
        .args([&script, &source.join(LINKER_SCRIPT)])
        .run()?;
    Tool::new("gcc", "linking the kernel")
        .args([
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-Wl,-n",
            "-T",
        ])
        .args([&script])
        .args(["-o"])
        .args([&kernel.elf])
        .args(&objects)
        .run()?;
    Tool::new("objcopy", "making the 32-bit image")
        .args(["--strip-debug", "-O", "elf32-i386"])
        .args([&kernel.elf, &kernel.image])
        .run()?;
    fs::write(&stamp_file, &stamp).map_err(at(&stamp_file))?;
    Ok(kernel)
}

fn include(folder: &Path) -> String {
    format!("-I{}", folder.display())
}

/// The kernel as one C file. The order is that of upstream's Makefile, by path.
fn translation_unit(source: &Path, debug: bool) -> Result<String, Error> {
    let mut files = Vec::new();
    collect_c(source, &source.join("src"), false, &mut files)?;
    for folder in C_FOLDERS {
        collect_c(source, &source.join("src").join(folder), true, &mut files)?;
    }
    files.retain(|file| {
        !C_EXCLUDED.iter().any(|excluded| file.starts_with(excluded)) || (debug && file == CAPDL)
    });
    files.sort();
    files.push(SCHEDULE.to_owned());
    Ok(files
        .iter()
        .map(|file| format!("#include \"{}\"\n", source.join(file).display()))
        .collect())
}

fn collect_c(
    source: &Path,
    folder: &Path,
    deep: bool,
    files: &mut Vec<String>,
) -> Result<(), Error> {
    for entry in sorted_entries(folder)? {
        if entry.is_dir() {
            if deep {
                collect_c(source, &entry, deep, files)?;
            }
        } else if entry.extension().is_some_and(|extension| extension == "c") {
            files.extend(
                entry
                    .strip_prefix(source)
                    .map(|file| file.to_string_lossy().into_owned()),
            );
        }
    }
    Ok(())
}

/// What the compiled kernel depends on, in short: source, headers, commands, compiler.
fn stamp(source: &Path, headers: &Path, commands: &[&str]) -> Result<String, Error> {
    let compiler = Tool::new("gcc", "asking for the compiler's version")
        .args(["--version"])
        .run()?;
    let mut hasher = blake3::Hasher::new();
    let mut frame = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    frame(source::stamp(source)?.as_bytes());
    frame(compiler.as_bytes());
    for command in commands {
        frame(command.as_bytes());
    }
    let mut folders = vec![headers.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in sorted_entries(&folder)? {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                frame(entry.as_os_str().as_encoded_bytes());
                frame(&fs::read(&entry).map_err(at(&entry))?);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// A command of the C toolchain that is quiet unless it fails.
pub(crate) struct Tool {
    command: Command,
    doing: String,
}

impl Tool {
    pub(crate) fn new(program: &str, doing: impl Into<String>) -> Self {
        Self {
            command: Command::new(program),
            doing: doing.into(),
        }
    }

    pub(crate) fn args<A: AsRef<std::ffi::OsStr>>(
        mut self,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        self.command.args(args);
        self
    }

    /// Runs it, and gives what it wrote to its standard output.
    pub(crate) fn run(mut self) -> Result<String, Error> {
        let result = self.command.output();
        let failed = |output: String| Error::Tool {
            tool: self.command.get_program().to_string_lossy().into_owned(),
            doing: self.doing.clone(),
            output,
        };
        match result {
            Ok(output) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(output) => Err(failed(
                String::from_utf8_lossy(&output.stderr).into_owned()
                    + &String::from_utf8_lossy(&output.stdout),
            )),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
