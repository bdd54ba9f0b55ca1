// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;
use std::process::Command;

use super::*;
use crate::{Config, Series, source};

fn interfaces() -> Interfaces {
    Interfaces::read(&source::locate().unwrap()).unwrap()
}

fn defining(macros: &str) -> Definitions {
    Definitions::from_header(macros)
}

/// Configurations that make a difference to the numbers.
const CONFIGURATIONS: [&str; 5] = [
    "#define CONFIG_MAX_NUM_NODES 1\n",
    "#define CONFIG_MAX_NUM_NODES 2\n",
    "#define CONFIG_VTX\n",
    "#define CONFIG_HARDWARE_DEBUG_API 1\n",
    "#define CONFIG_MAX_NUM_NODES 8\n#define CONFIG_VTX 1\n#define CONFIG_HARDWARE_DEBUG_API 1\n",
];

/// Compiles a C program against the headers for the kernel, runs it, and gives its output.
fn run_c(macros: &str, includes: &str, main: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in c_headers(&source::locate().unwrap()).unwrap() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let program = format!(
        "{macros}#include <stdio.h>\n\
         #define UNUSED __attribute__((unused))\n\
         typedef unsigned long word_t;\n\
         {includes}\nint main(void) {{\n{main}return 0;\n}}\n"
    );
    let (file, binary) = (
        folder.path().join("program.c"),
        folder.path().join("program"),
    );
    fs::write(&file, program).unwrap();
    let gcc = Command::new("gcc")
        .args(["-Wall", "-Werror", "-I"])
        .args([folder.path(), "-o".as_ref(), &binary, &file])
        .output()
        .unwrap();
    assert!(
        gcc.status.success(),
        "{}",
        String::from_utf8_lossy(&gcc.stderr)
    );
    String::from_utf8(Command::new(binary).output().unwrap().stdout).unwrap()
}

#[test]
fn the_c_compiler_counts_labels_as_we_do_in_every_configuration() {
    let interfaces = interfaces();
    for macros in CONFIGURATIONS {
        let labels = interfaces.labels(&defining(macros)).unwrap();
        let print: String = labels
            .iter()
            .map(|(id, _)| format!("printf(\"{id} %d\\n\", {id});\n"))
            .collect();
        let count = "printf(\"end %d\\n\", nArchInvocationLabels);\n";
        let output = run_c(macros, "#include <arch/api/invocation.h>", &(print + count));

        let mut expected: String = labels
            .iter()
            .map(|(id, label)| format!("{id} {label}\n"))
            .collect();
        expected += &format!("end {}\n", labels.len() + 1);
        assert_eq!(output, expected, "{macros}");
    }
}

#[test]
fn the_c_compiler_numbers_system_calls_as_we_do() {
    let macros = "#define CONFIG_DEBUG_BUILD 1\n#define CONFIG_DANGEROUS_CODE_INJECTION 1\n\
                  #define CONFIG_ENABLE_BENCHMARKS 1\n#define CONFIG_BENCHMARK_TRACK_UTILISATION 1\n\
                  #define CONFIG_VTX 1\n";
    let interfaces = interfaces();
    let syscalls = interfaces.syscalls();
    let print: String = syscalls
        .iter()
        .map(|(name, _)| format!("printf(\"{name} %d\\n\", Sys{name});\n"))
        .collect();
    let limits = "printf(\"%d %d %s\\n\", SYSCALL_MAX, SYSCALL_MIN, syscall_names[4]);\n";
    let output = run_c(macros, "#include <arch/api/syscall.h>", &(print + limits));

    let expected: String = syscalls
        .iter()
        .map(|(name, number)| format!("{name} {number}\n"))
        .collect();
    assert_eq!(output, expected + "-1 -8 NBSend\n");
}

#[test]
fn assembler_sees_the_numbers_of_system_calls() {
    let main = "printf(\"%d %d\\n\", SYSCALL_CALL, SYSCALL_NB_SEND);\n";
    let includes = "#define __ASSEMBLER__\n#include <arch/api/syscall.h>";
    assert_eq!(run_c("", includes, main), "-1 -4\n");
}

#[test]
fn labels_are_those_of_the_released_kernel() {
    let interfaces = interfaces();
    let definitions = defining(&Config::default().header().unwrap());
    let labels = interfaces.labels(&definitions).unwrap();
    let label = |id| labels.iter().find(|(name, _)| *name == id).unwrap().1;
    // Read from a kernel that the package's own generators made.
    assert_eq!(label("UntypedRetype"), 1);
    assert_eq!(label("TCBSetSpace"), 9);
    assert_eq!(label("CNodeRevoke"), 14);
    assert_eq!(label("CNodeCopy"), 17);
    assert_eq!(label("X86PDPTMap"), 28);
    assert_eq!(label("X86PageDirectoryMap"), 30);
    assert_eq!(label("X86PageTableMap"), 33);
    assert_eq!(label("X86PageMap"), 37);
    assert_eq!(label("X86ASIDPoolAssign"), 43);
    assert_eq!(label("X86IOPortOut8"), 47);
    assert_eq!(label("X86IRQIssueIRQHandlerMSI"), 51);
    assert_eq!(labels.len(), 51);
}

#[test]
fn our_patches_leave_the_labels_of_the_released_kernel_alone() {
    let definitions = defining(&Config::default().header().unwrap());
    let released = interfaces();
    let released = released.labels(&definitions).unwrap();
    for series in [Series::Stock, Series::Extended] {
        let folder = tempfile::tempdir().unwrap();
        let source = source::patched(folder.path(), &series).unwrap();
        let patched = Interfaces::read(&source).unwrap();
        let patched = patched.labels(&definitions).unwrap();
        // The bindings serve both kernels, so an extension may only append.
        assert_eq!(patched[..released.len()], released, "{series:?}");
    }
}

#[test]
fn every_invocation_is_described() {
    for method in interfaces().layers.iter().flatten() {
        assert!(descriptions::method(&method.id).is_some(), "{}", method.id);
    }
}

#[test]
fn small_parameters_share_a_word_and_capabilities_travel_apart() {
    let bindings = rust_bindings(&source::locate().unwrap(), &defining("")).unwrap();
    let retype = "invoke(self, InvocationLabel::UntypedRetype, [root.bits()], \
                  [object_type.bits(), size_bits, node_index, node_depth, node_offset, num_objects])";
    assert!(bindings.contains(retype));
    let copy_registers = "[source.bits()], [u64::from(suspend_source) | u64::from(resume_target) << 1 \
                          | u64::from(transfer_frame) << 2 | u64::from(transfer_integer) << 3 \
                          | u64::from(arch_flags) << 8])";
    assert!(bindings.contains(copy_registers));
}

#[test]
fn a_method_outside_of_its_configuration_is_not_generated() {
    let source = source::locate().unwrap();
    let generated = |macros| rust_bindings(&source, &defining(macros)).unwrap();
    assert!(!generated("").contains("pub fn set_affinity"));
    assert!(generated("#define CONFIG_MAX_NUM_NODES 2").contains("pub fn set_affinity"));
    assert!(!generated("").contains("seL4_X86_VCPU"));
    assert!(generated("#define CONFIG_VTX 1").contains("seL4_X86_VCPU"));
}

#[test]
fn a_condition_that_is_not_understood_is_an_error_not_a_guess() {
    let definitions = defining("#define CONFIG_A 1\n#define CONFIG_TEXT yes\n");
    assert_eq!(definitions.satisfy("defined(CONFIG_A)"), Some(true));
    assert_eq!(definitions.satisfy("defined CONFIG_A"), Some(true));
    assert_eq!(definitions.satisfy("defined(CONFIG_B)"), Some(false));
    assert_eq!(definitions.satisfy("CONFIG_A > 0"), Some(true));
    assert_eq!(definitions.satisfy("CONFIG_A > 1"), Some(false));
    assert_eq!(definitions.satisfy("CONFIG_B > 0"), Some(false));
    assert_eq!(definitions.satisfy("CONFIG_TEXT > 0"), None);
    assert_eq!(
        definitions.satisfy("defined(CONFIG_A) && defined(CONFIG_B)"),
        None
    );
    assert_eq!(definitions.satisfy("!defined(CONFIG_A)"), None);
    assert_eq!(definitions.satisfy(""), None);
}

/// A source tree whose generic invocations are these.
fn described(invocations: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let invocations = format!("<api>{invocations}</api>");
    let texts = [
        invocations.as_str(),
        "<api/>",
        "<api/>",
        "<syscalls><api/></syscalls>",
    ];
    for (file, text) in LAYERS.into_iter().chain([SYSCALLS]).zip(texts) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn complaint(invocations: &str) -> String {
    let source = described(invocations);
    let error = rust_bindings(source.path(), &Definitions::default()).unwrap_err();
    let Error::Interface { file, reason } = error else {
        panic!("{error}");
    };
    assert!(file.ends_with("sel4.xml"));
    reason
}

#[test]
fn a_description_that_is_not_as_expected_is_refused_with_its_file_and_a_reason() {
    let interface = |method: &str| format!("<interface name='seL4_A'>{method}</interface>");
    assert!(complaint("<interface").contains("1:"));
    assert_eq!(
        complaint("<method id='B' name='B'/>"),
        "B is outside of an interface"
    );
    assert_eq!(
        complaint(&interface("<method name='B'/>")),
        "<method> without \"id\""
    );
    assert_eq!(
        complaint(&interface("<method id='B' name='B' condition='X + 1'/>")),
        "B: the condition \"X + 1\" is not understood"
    );
    assert_eq!(
        complaint(&interface(
            "<method id='B' name='B'><param dir='up' name='c' type='seL4_Word'/></method>"
        )),
        "B: direction \"up\""
    );
    assert_eq!(
        complaint(&interface(
            "<method id='B' name='B'><param dir='in' name='c' type='float'/></method>"
        )),
        "B: type \"float\" is not known"
    );
}
