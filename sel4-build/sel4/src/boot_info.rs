// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel tells the root task.

use core::ops::Range;

/// The slots of the root task's CNode that the kernel fills (manual, chapter "System
/// Bootstrapping").
pub mod init_slot {
    /// The root task's thread.
    pub const TCB: u64 = 1;
    /// The CNode itself.
    pub const CNODE: u64 = 2;
    /// The root table of the root task's address space.
    pub const VSPACE: u64 = 3;
    /// The cap that makes handlers of interrupts.
    pub const IRQ_CONTROL: u64 = 4;
    /// The cap that makes ASID pools.
    pub const ASID_CONTROL: u64 = 5;
    /// The ASID pool of the root task.
    pub const ASID_POOL: u64 = 6;
    /// All I/O ports.
    pub const IO_PORT: u64 = 7;
    /// All device address spaces; empty without IOMMU.
    pub const IO_SPACE: u64 = 8;
    /// The page that [`BootInfo`](crate::BootInfo) lies in.
    pub const BOOT_INFO: u64 = 9;
    /// The page of the IPC buffer.
    pub const IPC_BUFFER: u64 = 10;
    /// The cap that moves threads between scheduling domains.
    pub const DOMAIN: u64 = 11;
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Slots {
    start: u64,
    end: u64,
}

impl Slots {
    fn range(self) -> Range<u64> {
        self.start..self.end
    }
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Description {
    paddr: u64,
    padding: [u8; 2],
    size_bits: u8,
    is_device: u8,
}

/// Untyped descriptions that a page has room for behind the rest.
const MAX_DESCRIPTIONS: usize = 327;

/// What the kernel tells the root task (`seL4_BootInfo`): where its capabilities are and what
/// memory there is. The kernel passes its address in RDI.
///
/// Regions are ranges of slots of the root task's CNode.
#[repr(C, packed)]
pub struct BootInfo {
    extra_len: u64,
    node_id: u64,
    num_nodes: u64,
    num_io_pt_levels: u64,
    ipc_buffer: u64,
    empty: Slots,
    shared_frames: Slots,
    user_image_frames: Slots,
    user_image_paging: Slots,
    io_space_caps: Slots,
    extra_bi_pages: Slots,
    init_thread_cnode_size_bits: u8,
    init_thread_domain: u64,
    arch_info: u64,
    untyped: Slots,
    /// How many of these there are depends on the kernel's configuration; all lie in the page.
    untyped_list: [Description; MAX_DESCRIPTIONS],
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(BootInfo, ipc_buffer) == 32);
    assert!(offset_of!(BootInfo, empty) == 40);
    assert!(offset_of!(BootInfo, user_image_frames) == 72);
    assert!(offset_of!(BootInfo, user_image_paging) == 88);
    assert!(offset_of!(BootInfo, init_thread_cnode_size_bits) == 136);
    assert!(offset_of!(BootInfo, init_thread_domain) == 137);
    assert!(offset_of!(BootInfo, arch_info) == 145);
    assert!(offset_of!(BootInfo, untyped) == 153);
    assert!(offset_of!(BootInfo, untyped_list) == 169);
    assert!(size_of::<Description>() == 12);
    assert!(size_of::<BootInfo>() <= 4096 && size_of::<BootInfo>() + 12 > 4096);
};

/// Untyped memory that the root task starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntypedDescription {
    /// The slot of its capability.
    pub slot: u64,
    /// Its physical address.
    pub paddr: u64,
    /// Binary logarithm of its size in bytes.
    pub size_bits: u8,
    /// Whether it is no ordinary memory but belongs to a device. The kernel does not clear it
    /// and makes only pages and untyped memory of it.
    pub is_device: bool,
}

impl BootInfo {
    /// Bytes of further information, which starts 4 KiB behind this.
    pub fn extra_len(&self) -> u64 {
        self.extra_len
    }

    /// Number of the core.
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// How many cores there are.
    pub fn num_nodes(&self) -> u64 {
        self.num_nodes
    }

    /// Levels of the IOMMU's page tables, or `None` without IOMMU.
    pub fn num_io_pt_levels(&self) -> Option<u64> {
        // -1 is how the kernel says that there is none.
        Some(self.num_io_pt_levels).filter(|&levels| levels != 0 && levels != u64::MAX)
    }

    /// Address of the root task's IPC buffer.
    pub fn ipc_buffer(&self) -> u64 {
        self.ipc_buffer
    }

    /// Empty slots.
    pub fn empty(&self) -> Range<u64> {
        self.empty.range()
    }

    /// Pages shared between cores' kernels.
    pub fn shared_frames(&self) -> Range<u64> {
        self.shared_frames.range()
    }

    /// The pages of the root task's image, in order of their addresses.
    pub fn user_image_frames(&self) -> Range<u64> {
        self.user_image_frames.range()
    }

    /// The page tables of the root task's address space.
    pub fn user_image_paging(&self) -> Range<u64> {
        self.user_image_paging.range()
    }

    /// Address spaces of devices.
    pub fn io_space_caps(&self) -> Range<u64> {
        self.io_space_caps.range()
    }

    /// The pages of the further information.
    pub fn extra_bi_pages(&self) -> Range<u64> {
        self.extra_bi_pages.range()
    }

    /// Binary logarithm of the number of slots of the root task's CNode.
    pub fn cnode_size_bits(&self) -> u8 {
        self.init_thread_cnode_size_bits
    }

    /// The root task's scheduling domain.
    pub fn domain(&self) -> u64 {
        self.init_thread_domain
    }

    /// How fast the time-stamp counter runs, as the kernel measured it, in MHz.
    pub fn tsc_mhz(&self) -> u64 {
        self.arch_info
    }

    /// The slots of untyped memory.
    pub fn untyped(&self) -> Range<u64> {
        self.untyped.range()
    }

    /// The untyped memory.
    pub fn untyped_list(&self) -> impl Iterator<Item = UntypedDescription> + '_ {
        self.untyped()
            .zip(0..MAX_DESCRIPTIONS)
            .map(|(slot, index)| {
                let Description {
                    paddr,
                    size_bits,
                    is_device,
                    ..
                } = self.untyped_list[index];
                UntypedDescription {
                    slot,
                    paddr,
                    size_bits,
                    is_device: is_device != 0,
                }
            })
    }
}
