// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our words for the documentation of invocations and their parameters.

use super::Parameter;

/// What an invocation does. `None` for those that came after this was written.
pub(super) fn method(id: &str) -> Option<&'static str> {
    Some(match id {
        "UntypedRetype" => {
            "Makes objects out of the untyped memory that is left, and puts their caps into \
             consecutive slots of a CNode."
        }
        "TCBReadRegisters" => "Reads the first `count` registers of a thread; the others are 0.",
        "TCBWriteRegisters" => "Writes the first `count` registers of a thread.",
        "TCBCopyRegisters" => "Copies registers from another thread to this one.",
        "TCBConfigure" => {
            "Sets a thread's fault endpoint, priorities, spaces and IPC buffer in one go."
        }
        "TCBSetPriority" => "Sets a thread's priority, at most the caller's maximum.",
        "TCBSetMCPriority" => {
            "Sets the highest priority that the thread may give to itself or to others."
        }
        "TCBSetIPCBuffer" => "Gives a thread another IPC buffer.",
        "TCBSetSpace" => {
            "Sets a thread's fault endpoint, root CNode and root page table. A thread that does \
             this to itself runs in the new address space at once."
        }
        "TCBSuspend" => "Stops a thread. What it waited for is forgotten.",
        "TCBResume" => "Lets a stopped thread run.",
        "TCBBindNotification" => {
            "Binds a notification: the thread receives its signals while it waits on an endpoint."
        }
        "TCBUnbindNotification" => "Undoes the binding of a notification.",
        "TCBSetAffinity" => "Moves a thread to another core.",
        "TCBSetBreakpoint" => "Sets a breakpoint or watchpoint of a thread.",
        "TCBGetBreakpoint" => "Reads a breakpoint or watchpoint of a thread.",
        "TCBUnsetBreakpoint" => "Clears a breakpoint or watchpoint of a thread.",
        "TCBConfigureSingleStepping" => "Makes a thread stop after so many instructions.",
        "CNodeRevoke" => "Deletes every cap that descends from the one in the slot, but not it.",
        "CNodeDelete" => "Empties a slot. The object goes with its last cap.",
        "CNodeCancelBadgedSends" => {
            "Ends every waiting send through the cap in the slot that bears the same badge."
        }
        "CNodeCopy" => "Copies a cap into an empty slot, with at most the given rights.",
        "CNodeMint" => {
            "Copies a cap into an empty slot, with at most the given rights and a new badge or \
             guard."
        }
        "CNodeMove" => "Moves a cap into an empty slot.",
        "CNodeMutate" => "Moves a cap into an empty slot and gives it a new badge or guard.",
        "CNodeRotate" => {
            "Moves the cap in the pivot slot to the destination, and the cap in the source slot \
             to the pivot, in one step."
        }
        "CNodeSaveCaller" => "Puts the reply cap of the last call received into a slot.",
        "IRQIssueIRQHandler" => "Makes the cap that handles an interrupt.",
        "IRQAckIRQ" => "Says that the interrupt is dealt with, so that it can come again.",
        "IRQSetIRQHandler" => "Sets the notification that the interrupt signals.",
        "IRQClearIRQHandler" => "Undoes the setting of the notification.",
        "DomainSetSet" => "Moves a thread to another scheduling domain.",
        "X64PML4Switch" => {
            "Makes the calling thread run in this address space from its next instruction. To the \
             one it runs in, nothing happens. Refused with `InvalidCapability` if no \
             address-space identifier names the root, and with `RevokeFirst` if the thread holds \
             the last cap to the root that it would leave. Without message words it takes a fast \
             path. Only the extended kernel has it; others answer `IllegalOperation`."
        }
        "X86PDPTMap" => "Enters a PDPT in a root table (PML4).",
        "X86PDPTUnmap" => "Takes a PDPT out of its root table.",
        "X86PageDirectoryMap" => "Enters a page directory in the PDPT at that address.",
        "X86PageDirectoryUnmap" => "Takes a page directory out of its PDPT.",
        "X86PageDirectoryGetStatusBits" => {
            "Reads the accessed and dirty bits of the large page at that address."
        }
        "X86PageTableMap" => "Enters a page table in the page directory at that address.",
        "X86PageTableUnmap" => "Takes a page table out of its page directory.",
        "X86IOPageTableMap" => "Enters a page table in the address space of a device.",
        "X86IOPageTableUnmap" => "Takes a page table out of the address space of a device.",
        "X86PageMap" => "Maps a page; the tables above it must be there.",
        "X86PageRemap" => "Changes the rights or attributes of a mapping.",
        "X86PageUnmap" => "Unmaps a page.",
        "X86PageMapIO" => "Maps a page into the address space of a device.",
        "X86PageGetAddress" => "The physical address of a page.",
        "X86PageMapEPT" => "Maps a page into the memory of a virtual machine.",
        "X86ASIDControlMakePool" => {
            "Makes a pool of address-space identifiers out of 4 KiB of untyped memory."
        }
        "X86ASIDPoolAssign" => {
            "Gives a root table an identifier of this pool; without one nothing can be mapped in \
             it and no thread can run in it."
        }
        "X86IOPortIn8" | "X86IOPortIn16" | "X86IOPortIn32" => "Reads an I/O port.",
        "X86IOPortOut8" | "X86IOPortOut16" | "X86IOPortOut32" => "Writes an I/O port.",
        "X86IRQIssueIRQHandlerIOAPIC" => "Makes the cap that handles an interrupt of an I/O APIC.",
        "X86IRQIssueIRQHandlerMSI" => "Makes the cap that handles a message-signalled interrupt.",
        "TCBSetEPTRoot" => "Sets the virtual machine that a thread runs.",
        "X86VCPUSetTCB" => "Binds a virtual processor to a thread.",
        "X86VCPUReadVMCS" => "Reads a field of a virtual processor's control structure.",
        "X86VCPUWriteVMCS" => "Writes a field of a virtual processor's control structure.",
        "X86VCPUEnableIOPort" => "Lets a virtual machine use a range of I/O ports.",
        "X86VCPUDisableIOPort" => "Takes a range of I/O ports from a virtual machine.",
        "X86VCPUWriteRegisters" => "Writes the registers of a virtual processor.",
        "X86EPTPDPTMap" | "X86EPTPDMap" | "X86EPTPTMap" => {
            "Enters a table in the memory map of a virtual machine."
        }
        "X86EPTPDPTUnmap" | "X86EPTPDUnmap" | "X86EPTPTUnmap" => {
            "Takes a table out of the memory map of a virtual machine."
        }
        _ => return None,
    })
}

/// What a parameter or result is, in one sentence.
pub(super) fn parameter(parameter: &Parameter) -> String {
    let text = match parameter.name.as_str() {
        "type" => "what to make.",
        "size_bits" => {
            "binary logarithm of the size: bytes of untyped memory, slots of a CNode; ignored for \
             objects of fixed size."
        }
        "root" => "root CNode of the CSpace with the destination.",
        "node_index" => "address of the destination CNode, resolved from `root`.",
        "node_depth" => "bits of `node_index` to resolve; 0 means `root` itself.",
        "node_offset" => "first destination slot in that CNode.",
        "num_objects" => "how many objects to make.",
        "index" => "address of the slot.",
        "depth" => "bits of `index` to resolve.",
        "dest_index" => "address of the destination slot.",
        "dest_depth" => "bits of `dest_index` to resolve.",
        "dest_badge" => "badge or guard for the cap that arrives at the destination; 0 for none.",
        "src_root" => "root CNode of the CSpace with the source.",
        "src_index" => "address of the source slot, resolved from `src_root`.",
        "src_depth" => "bits of `src_index` to resolve.",
        "pivot_root" => "root CNode of the CSpace with the pivot.",
        "pivot_index" => "address of the pivot slot, resolved from `pivot_root`.",
        "pivot_depth" => "bits of `pivot_index` to resolve.",
        "pivot_badge" => "badge or guard for the cap that arrives at the pivot; 0 for none.",
        "rights" => "rights to keep; a right that is not there stays away.",
        "badge" => "the badge (28 bits) or guard of the new cap; 0 for none.",
        "vroot" | "pml4" => "root table of the address space.",
        "vaddr" | "gpa" => "virtual address in it, a multiple of what the object spans.",
        "attr" => "how the memory is cached.",
        "fault_ep" => {
            "endpoint that hears of the thread's faults, as an address in the thread's own \
             CSpace; 0 for none."
        }
        "cspace_root" => "root CNode of the thread's CSpace.",
        "cspace_root_data" => "guard for that cap; 0 leaves it as it is.",
        "vspace_root" => "root table of the thread's address space.",
        "vspace_root_data" => "ignored on x86; 0.",
        "buffer" => "address of the IPC buffer in the thread's address space; 0 for none.",
        "bufferFrame" => "page that the IPC buffer lies in.",
        "priority" if parameter.kind == "seL4_PrioProps_t" => {
            "the priority and the highest priority the thread may give."
        }
        "priority" => "the priority, 0 to 255.",
        "mcp" => "the highest priority the thread may give, 0 to 255.",
        "suspend_source" => "whether to stop the thread that is read.",
        "resume_target" => "whether to let the thread that is written run.",
        "transfer_frame" => "whether to copy the registers that a system call uses.",
        "transfer_integer" => "whether to copy the other registers.",
        "arch_flags" => "unused on x86; 0.",
        "count" => "how many registers.",
        "regs" => "the registers.",
        "source" => "the thread to read from.",
        "notification" => "the notification.",
        "affinity" => "number of the core.",
        "irq" => "the interrupt's number.",
        "domain" => "the domain's number.",
        "thread" => "the thread.",
        "untyped" => "untyped memory of 4 KiB with no objects in it.",
        "port" => "number of the port.",
        "data" => "the value to write.",
        "ioapic" => "number of the I/O APIC.",
        "pin" => "its pin.",
        "level" => "1 if triggered by level, 0 if by edge.",
        "polarity" => "1 if active low, 0 if active high.",
        "vector" => "number of the interrupt at the processor, 0 to 109.",
        "pci_bus" => "PCI bus of the device.",
        "pci_dev" => "PCI device number.",
        "pci_func" => "PCI function of the device.",
        "handle" => "value that the device writes.",
        "iospace" => "address space of the device.",
        "ioaddr" => "address in it.",
        "accessed" => "1 if the page was read or written.",
        "dirty" => "1 if the page was written.",
        "bp_num" => "number of the breakpoint.",
        "is_enabled" => "whether it is set.",
        "size" => "bytes it watches; 0 for an instruction.",
        "rw" => "the accesses it watches.",
        "num_instructions" => "instructions to run between stops; 0 ends stepping.",
        name => return format!("{}.", name.replace('_', " ")),
    };
    text.to_owned()
}
