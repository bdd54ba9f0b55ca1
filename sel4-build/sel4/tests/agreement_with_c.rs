// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written by hand here is what the kernel's C headers say.

use std::fs;
use std::mem::size_of;
use std::process::Command;

use kernel::{Config, Series, source};
use sel4::{
    BootInfo, Error, FrameSize, IPC_BUFFER_BITS, LEVELS, MAX_EXTRA_CAPS, MAX_MESSAGE_LENGTH,
    MAX_UNTYPED_BITS, MIN_UNTYPED_BITS, ObjectType, SLOT_BITS, USER_DATA_OFFSET, UserContext,
    VmAttributes, init_slot,
};

/// Expressions in C that libsel4's headers give a value to, and ours.
fn expected() -> Vec<(&'static str, u64)> {
    let mut values = vec![
        ("seL4_UntypedObject", ObjectType::Untyped.bits()),
        ("seL4_TCBObject", ObjectType::Tcb.bits()),
        ("seL4_EndpointObject", ObjectType::Endpoint.bits()),
        ("seL4_NotificationObject", ObjectType::Notification.bits()),
        ("seL4_CapTableObject", ObjectType::CNode.bits()),
        ("seL4_X86_PDPTObject", ObjectType::PDPT.bits()),
        ("seL4_X64_PML4Object", ObjectType::PML4.bits()),
        ("seL4_X64_HugePageObject", ObjectType::HugePage.bits()),
        ("seL4_X86_4K", ObjectType::SmallPage.bits()),
        ("seL4_X86_LargePageObject", ObjectType::LargePage.bits()),
        ("seL4_X86_PageTableObject", ObjectType::PageTable.bits()),
        (
            "seL4_X86_PageDirectoryObject",
            ObjectType::PageDirectory.bits(),
        ),
        ("seL4_SlotBits", SLOT_BITS.into()),
        ("seL4_MinUntypedBits", MIN_UNTYPED_BITS.into()),
        ("seL4_MaxUntypedBits", MAX_UNTYPED_BITS.into()),
        ("seL4_TCBBits", ObjectType::Tcb.size_bits(0).into()),
        (
            "seL4_EndpointBits",
            ObjectType::Endpoint.size_bits(0).into(),
        ),
        (
            "seL4_NotificationBits",
            ObjectType::Notification.size_bits(0).into(),
        ),
        ("seL4_SlotBits + 7", ObjectType::CNode.size_bits(7).into()),
        ("seL4_PML4Bits", ObjectType::PML4.size_bits(0).into()),
        ("seL4_PDPTBits", ObjectType::PDPT.size_bits(0).into()),
        (
            "seL4_PageDirBits",
            ObjectType::PageDirectory.size_bits(0).into(),
        ),
        (
            "seL4_PageTableBits",
            ObjectType::PageTable.size_bits(0).into(),
        ),
        ("seL4_PageBits", FrameSize::Small.bits().into()),
        ("seL4_LargePageBits", FrameSize::Large.bits().into()),
        ("seL4_HugePageBits", FrameSize::Huge.bits().into()),
        ("SEL4_MAPPING_LOOKUP_NO_PDPT", LEVELS[1].span_bits.into()),
        ("SEL4_MAPPING_LOOKUP_NO_PD", LEVELS[2].span_bits.into()),
        ("SEL4_MAPPING_LOOKUP_NO_PT", LEVELS[3].span_bits.into()),
        ("SEL4_MAPPING_LOOKUP_LEVEL", 2),
        (
            "seL4_X86_Default_VMAttributes",
            VmAttributes::DEFAULT.bits(),
        ),
        ("seL4_X86_WriteThrough", VmAttributes::WRITE_THROUGH.bits()),
        (
            "seL4_X86_CacheDisabled",
            VmAttributes::CACHE_DISABLED.bits(),
        ),
        ("seL4_X86_Uncacheable", VmAttributes::UNCACHEABLE.bits()),
        (
            "seL4_X86_WriteCombining",
            VmAttributes::WRITE_COMBINING.bits(),
        ),
        ("seL4_MsgMaxLength", MAX_MESSAGE_LENGTH as u64),
        ("seL4_MsgMaxExtraCaps", MAX_EXTRA_CAPS as u64),
        ("sizeof(seL4_IPCBuffer)", 1 << IPC_BUFFER_BITS),
        (
            "offsetof(seL4_IPCBuffer, userData)",
            USER_DATA_OFFSET as u64,
        ),
        ("sizeof(seL4_UserContext)", 8 * UserContext::COUNT as u64),
        ("sizeof(seL4_UntypedDesc)", 12),
        (
            "offsetof(seL4_BootInfo, untypedList)",
            size_of::<BootInfo>() as u64 - 327 * 12,
        ),
        ("seL4_CapInitThreadTCB", init_slot::TCB),
        ("seL4_CapInitThreadCNode", init_slot::CNODE),
        ("seL4_CapInitThreadVSpace", init_slot::VSPACE),
        ("seL4_CapIRQControl", init_slot::IRQ_CONTROL),
        ("seL4_CapASIDControl", init_slot::ASID_CONTROL),
        ("seL4_CapInitThreadASIDPool", init_slot::ASID_POOL),
        ("seL4_CapIOPort", init_slot::IO_PORT),
        ("seL4_CapIOSpace", init_slot::IO_SPACE),
        ("seL4_CapBootInfoFrame", init_slot::BOOT_INFO),
        ("seL4_CapInitThreadIPCBuffer", init_slot::IPC_BUFFER),
        ("seL4_CapDomain", init_slot::DOMAIN),
        (
            "seL4_InvalidArgument",
            Error::InvalidArgument.number().into(),
        ),
        (
            "seL4_InvalidCapability",
            Error::InvalidCapability.number().into(),
        ),
        (
            "seL4_IllegalOperation",
            Error::IllegalOperation.number().into(),
        ),
        ("seL4_RangeError", Error::RangeError.number().into()),
        ("seL4_AlignmentError", Error::AlignmentError.number().into()),
        ("seL4_FailedLookup", Error::FailedLookup.number().into()),
        (
            "seL4_TruncatedMessage",
            Error::TruncatedMessage.number().into(),
        ),
        ("seL4_DeleteFirst", Error::DeleteFirst.number().into()),
        ("seL4_RevokeFirst", Error::RevokeFirst.number().into()),
        (
            "seL4_NotEnoughMemory",
            Error::NotEnoughMemory.number().into(),
        ),
        (
            "seL4_NumErrors",
            u64::from(Error::NotEnoughMemory.number()) + 1,
        ),
    ];
    // Where the fault decoder finds what it reads.
    values.extend([
        ("seL4_VMFault_IP", 0),
        ("seL4_VMFault_Addr", 1),
        ("seL4_VMFault_PrefetchFault", 2),
        ("seL4_VMFault_FSR", 3),
        ("seL4_UnknownSyscall_FaultIP", 15),
        ("seL4_UnknownSyscall_Syscall", 18),
        ("seL4_UserException_FaultIP", 0),
        ("seL4_UserException_SP", 1),
        ("seL4_UserException_FLAGS", 2),
        ("seL4_UserException_Number", 3),
        ("seL4_UserException_Code", 4),
        ("seL4_CapFault_IP", 0),
        ("seL4_CapFault_Addr", 1),
        ("seL4_CapFault_InRecvPhase", 2),
        ("seL4_CapFault_LookupFailureType", 3),
        ("seL4_CapFault_BitsLeft", 4),
        ("seL4_CapFault_GuardMismatch_GuardFound", 5),
        ("seL4_CapFault_GuardMismatch_BitsFound", 6),
        ("seL4_MissingCapability", 2),
        ("seL4_DepthMismatch", 3),
        ("seL4_GuardMismatch", 4),
    ]);
    values
}

#[test]
fn object_types_sizes_slots_errors_and_layouts_are_those_of_libsel4() {
    let folder = tempfile::tempdir().unwrap();
    let source = source::patched(folder.path(), &Series::Extended).unwrap();
    let header = Config::default().header().unwrap();
    fs::write(folder.path().join("autoconf.h"), header).unwrap();

    let expected = expected();
    let print: String = expected
        .iter()
        .map(|(name, _)| format!("printf(\"%s %lu\\n\", \"{name}\", (unsigned long)({name}));\n"))
        .collect();
    // Types that libsel4 generates from descriptions of its own; only their size matters here.
    let program = format!(
        "#include <stddef.h>\n#include <stdio.h>\n\
         #include <autoconf.h>\n\
         #define SEL4_PACKED __attribute__((packed))\n\
         #define SEL4_FORCE_LONG_ENUM(type) type##_force = 0x7fffffffffffffffl\n\
         #define LIBSEL4_INLINE_FUNC static inline __attribute__((unused))\n\
         #define seL4_GetMR(i) 0\n\
         #include <sel4/simple_types.h>\n\
         #include <sel4/sel4_arch/types.h>\n\
         typedef struct {{ seL4_Word words[1]; }} seL4_MessageInfo_t;\n\
         #include <sel4/objecttype.h>\n\
         #include <sel4/sel4_arch/objecttype.h>\n\
         #include <sel4/arch/objecttype.h>\n\
         #include <sel4/sel4_arch/constants.h>\n\
         #include <sel4/sel4_arch/mapping.h>\n\
         #include <sel4/arch/types.h>\n\
         #include <sel4/constants.h>\n\
         #include <sel4/errors.h>\n\
         #include <sel4/shared_types.h>\n\
         #include <sel4/bootinfo_types.h>\n\
         int main(void) {{\n{print}return 0;\n}}\n"
    );
    let (file, binary) = (folder.path().join("values.c"), folder.path().join("values"));
    fs::write(&file, program).unwrap();
    let gcc = Command::new("gcc")
        .args(["-w", "-DHAVE_AUTOCONF", "-I"])
        .arg(folder.path())
        .args(
            [
                "libsel4/include",
                "libsel4/arch_include/x86",
                "libsel4/sel4_arch_include/x86_64",
            ]
            .map(|path| format!("-I{}", source.join(path).display())),
        )
        .arg("-o")
        .args([&binary, &file])
        .output()
        .unwrap();
    assert!(
        gcc.status.success(),
        "{}",
        String::from_utf8_lossy(&gcc.stderr)
    );

    let output = String::from_utf8(Command::new(binary).output().unwrap().stdout).unwrap();
    let ours: String = expected
        .iter()
        .map(|(name, value)| format!("{name} {value}\n"))
        .collect();
    assert_eq!(output, ours);
}

#[test]
fn a_system_call_on_the_host_panics_instead_of_reaching_its_kernel() {
    assert!(std::panic::catch_unwind(sel4::yield_now).is_err());
    assert!(std::panic::catch_unwind(sel4::user_data).is_err());
}
