// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels, built; and their machine code against that of the package's own generators.

use std::collections::BTreeMap;

use super::*;
use crate::error::read;

#[test]
fn a_kernel_is_built_once_and_again_only_when_its_input_changes() {
    let out = tempfile::tempdir().unwrap();
    let config = Config::default();
    let first = build(&config, Series::Stock, out.path()).unwrap();
    assert!(first.rebuilt);
    let image = fs::read(&first.image).unwrap();
    // A 32-bit ELF for the 386, with a multiboot header in its first 8 KiB.
    assert_eq!((&image[..5], image[18]), (&b"\x7fELF\x01"[..], 3));
    let magic = 0x1bad_b002_u32.to_le_bytes();
    assert!(image[..8192].chunks(4).any(|word| word == magic));

    assert!(!build(&config, Series::Stock, out.path()).unwrap().rebuilt);
    let slower = Config {
        timer_tick_ms: 4,
        ..config
    };
    assert!(build(&slower, Series::Stock, out.path()).unwrap().rebuilt);
    assert!(
        build(&slower, Series::Unpatched, out.path())
            .unwrap()
            .rebuilt
    );
}

#[test]
fn a_compiler_error_is_shown() {
    let out = tempfile::tempdir().unwrap();
    let config = Config::default();
    let source = source::patched(out.path(), &Series::Unpatched).unwrap();
    let headers = out.path().join("headers");
    write_headers(&config, &source, &headers).unwrap();
    let header = headers.join("api/invocation.h");
    fs::write(
        &header,
        read(&header).unwrap() + "\n#error broken on purpose\n",
    )
    .unwrap();
    let error = compile(&config, source, &headers, out.path()).unwrap_err();
    assert!(error.to_string().contains("broken on purpose"), "{error}");
    assert!(!out.path().join("kernel32.elf").exists());
}

#[test]
fn user_types_are_those_of_libsel4() {
    let out = tempfile::tempdir().unwrap();
    let source = source::patched(out.path(), &Series::Stock).unwrap();
    let types = user_types(&Config::default(), &source, out.path()).unwrap();
    for part in [
        "pub struct MessageInfo([u64; 1]);",
        "pub const fn new(label: u64, caps_unwrapped: u64, extra_caps: u64, length: u64) -> Self",
        "pub struct CapRights([u64; 1]);",
        "pub enum CapData {",
        "pub enum Fault {",
        "    /// Tag 5.\n    VmFault(VmFault),",
    ] {
        assert!(types.contains(part), "{part}\n{types}");
    }
}

/// The package's generators, in Python: they need the interpreter with three packages,
/// which are installed in a folder of their own if they are not there.
struct Python {
    interpreter: PathBuf,
    folder: tempfile::TempDir,
}

impl Python {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = |program: &Path, args: &[&str]| {
            Tool::new(program.to_str().unwrap(), "preparing Python")
                .args(args)
                .run()
        };
        let mut interpreter = PathBuf::from("python3");
        if run(&interpreter, &["-c", "import six, ply, tempita"]).is_err() {
            let environment = folder.path().join("python");
            run(&interpreter, &["-m", "venv", environment.to_str().unwrap()]).unwrap();
            interpreter = environment.join("bin/python");
            run(
                &interpreter,
                &["-m", "pip", "-q", "install", "six", "ply", "tempita"],
            )
            .unwrap();
        }
        // The generators write beside themselves.
        let tools = folder.path().join("tools");
        fs::create_dir(&tools).unwrap();
        for tool in sorted_entries(&source::locate().unwrap().join("tools")).unwrap() {
            if tool.is_file() {
                fs::copy(&tool, tools.join(tool.file_name().unwrap())).unwrap();
            }
        }
        Self {
            interpreter,
            folder,
        }
    }

    fn run(&self, tool: &str, args: &[&std::ffi::OsStr]) {
        Tool::new(
            self.interpreter.to_str().unwrap(),
            format!("running {tool}"),
        )
        .args([self.folder.path().join("tools").join(tool)])
        .args(args)
        .run()
        .unwrap();
    }

    /// Overwrites all generated headers but the configuration.
    fn write_headers(&self, source: &Path, headers: &Path) {
        let os = |path: &'static str| std::ffi::OsStr::new(path);
        let preprocessed = self.folder.path().join("description.pbf");
        for (description, header) in BITFIELDS {
            let mut includes = vec![headers.to_owned()];
            includes.extend(SOURCE_INCLUDES.map(|folder| source.join(folder)));
            let text = Tool::new("gcc", "preprocessing")
                .args(["-E", "-P", "-x", "c", "-w", "-nostdinc", "-DHAVE_AUTOCONF"])
                .args(includes.iter().map(|folder| include(folder)))
                .args([source.join(description)])
                .run()
                .unwrap();
            fs::write(&preprocessed, text).unwrap();
            let header = headers.join(header);
            self.run(
                "bitfield_gen.py",
                &[preprocessed.as_os_str(), header.as_os_str()],
            );
        }
        for (option, description, header) in [
            (
                None,
                "libsel4/include/interfaces/sel4.xml",
                "api/invocation.h",
            ),
            (
                Some("--sel4_arch"),
                "libsel4/sel4_arch_include/x86_64/interfaces/sel4arch.xml",
                "arch/api/sel4_invocation.h",
            ),
            (
                Some("--arch"),
                "libsel4/arch_include/x86/interfaces/sel4arch.xml",
                "arch/api/invocation.h",
            ),
        ] {
            let (description, header) = (source.join(description), headers.join(header));
            let mut args = vec![
                os("--xml"),
                description.as_os_str(),
                os("--dest"),
                header.as_os_str(),
            ];
            args.extend(option.map(os));
            self.run("invocation_header_gen.py", &args);
        }
        let (description, header) = (
            source.join("include/api/syscall.xml"),
            headers.join("arch/api/syscall.h"),
        );
        self.run(
            "syscall_header_gen.py",
            &[
                os("--xml"),
                description.as_os_str(),
                os("--kernel_header"),
                header.as_os_str(),
            ],
        );
    }
}

/// The bytes of a kernel as they are loaded.
fn image(kernel: &Kernel) -> Vec<u8> {
    let file = kernel.elf.with_extension("bin");
    Tool::new("objcopy", "taking the image")
        .args(["-O", "binary"])
        .args([&kernel.elf, &file])
        .run()
        .unwrap();
    fs::read(file).unwrap()
}

/// Names of the functions whose code differs, wherever they lie.
fn unlike(ours: &Kernel, theirs: &Kernel) -> Vec<String> {
    let functions = |kernel: &Kernel| -> BTreeMap<String, String> {
        let listing = Tool::new("objdump", "disassembling")
            .args(["-d", "--no-show-raw-insn", "--no-addresses"])
            .args([&kernel.elf])
            .run()
            .unwrap();
        listing
            .split("\n\n")
            .filter_map(|function| function.trim().split_once(":\n"))
            .map(|(name, code)| (name.to_owned(), code.to_owned()))
            .collect()
    };
    let (ours, theirs) = (functions(ours), functions(theirs));
    assert!(ours.len() > 100);
    ours.keys()
        .chain(theirs.keys())
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .cloned()
        .collect()
}

/// Builds a kernel with our headers, after a change to them, and one with the package's.
fn both(
    python: &Python,
    config: &Config,
    series: Series,
    change: impl Fn(&Path),
) -> (Kernel, Kernel) {
    let out = python.folder.path().join("kernels");
    let folder = |name: &str| out.join(name);
    let source = source::patched(&out, &series).unwrap();
    let kernel = |name: &str, change: &dyn Fn(&Path)| {
        let headers = folder(name).join("headers");
        write_headers(config, &source, &headers).unwrap();
        change(&headers);
        compile(config, source.clone(), &headers, &folder(name)).unwrap()
    };
    let ours = kernel("ours", &change);
    let theirs = kernel("theirs", &|headers| python.write_headers(&source, headers));
    (ours, theirs)
}

#[test]
#[ignore = "needs Python with six, ply and tempita, or the network to install them"]
fn our_headers_give_the_machine_code_of_the_packages_own() {
    let python = Python::new();
    for (config, series) in [
        (Config::default(), Series::Unpatched),
        (Config::default(), Series::Extended),
        (
            Config {
                pcid: true,
                cores: 2,
                huge_pages: false,
                fast_path: false,
                ..Config::default()
            },
            Series::Extended,
        ),
    ] {
        let (ours, theirs) = both(&python, &config, series, |_| {});
        let same = image(&ours) == image(&theirs);
        assert!(same, "{config:?}, {series:?}: {:?}", unlike(&ours, &theirs));
    }
}

#[test]
#[ignore = "needs Python with six, ply and tempita, or the network to install them"]
fn a_broken_accessor_is_found_by_its_users() {
    let python = Python::new();
    let break_accessor = |headers: &Path| {
        let header = headers.join("arch/object/structures_gen.h");
        let text = read(&header).unwrap();
        let start = text.find("\ncap_frame_cap_get_capFSize(").unwrap();
        let end = start + text[start..].find("\n}").unwrap();
        let broken = text[start..end].replace(" >> ", " >> 1 + ");
        assert_ne!(broken, text[start..end]);
        fs::write(&header, text[..start].to_owned() + &broken + &text[end..]).unwrap();
    };
    let (ours, theirs) = both(&python, &Config::default(), Series::Stock, break_accessor);
    assert_ne!(image(&ours), image(&theirs));
    let unlike = unlike(&ours, &theirs);
    assert!(
        unlike.iter().any(|name| name.contains("unmapPage")),
        "{unlike:?}"
    );
}
