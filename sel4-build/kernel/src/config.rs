// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kernel is wanted.

use std::ops::RangeInclusive;

use crate::Error;

/// What kernel is wanted. Field by field what upstream calls the kernel's configuration
/// (seL4 manual, "Configuration"; the options of its `Kconfig` files), for x86_64.
///
/// Not to be chosen, since every kernel here is the same in it: PC platform, I/O APIC,
/// xAPIC mode and no IOMMU (QEMU's TCG has neither x2APIC nor IOMMU by default), SYSCALL
/// entry, `FSGSBASE` instructions, FXSAVE for FPU state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Assertions, debug system calls and symbols. Much slower.
    pub debug: bool,
    /// The kernel prints to the first serial port: what it finds at boot, faults that no
    /// one handles, system calls that it refuses.
    pub printing: bool,
    /// Pages of 1 GiB. The processor must have them.
    pub huge_pages: bool,
    /// Short paths for the common cases of IPC.
    pub fast_path: bool,
    /// Translations are tagged with an address-space number, so switching need not flush
    /// them. The processor must have PCID and INVPCID; QEMU's TCG has not.
    pub pcid: bool,
    /// How many cores it can use, 1 to 8.
    pub cores: u32,
    /// Size of the root task's CNode: 2^bits slots, 4 to 18 bits, a slot is 32 bytes.
    pub root_cnode_bits: u32,
    /// Untyped capabilities that boot information has room for; memory, then device memory
    /// beyond is lost. At most 327, the default: the list must fit a page of 4 KiB.
    pub max_untyped_caps: u32,
    /// How many objects one Retype can make, 1 to 65,536.
    pub retype_fan_out_limit: u32,
    /// Priorities of threads, 1 to 256.
    pub priorities: u32,
    /// Scheduling domains, 1 to 256. Beyond one, all but the first stand idle, since the
    /// schedule in use names only it.
    pub domains: u32,
    /// Length of a timer tick, in milliseconds, 1 to 1,000.
    pub timer_tick_ms: u32,
    /// Timer ticks until a thread makes way for others of its priority, 1 to 1,000.
    pub time_slice_ticks: u32,
    /// Size of each core's kernel stack: 2^bits bytes, 12 to 16 bits.
    pub kernel_stack_bits: u32,
    /// Steps of deletion and revocation after which the kernel looks for interrupts, 1
    /// to 1,000,000.
    pub work_units_per_preemption: u32,
}

/// The release kernel of this project.
impl Default for Config {
    fn default() -> Self {
        Self {
            debug: false,
            printing: false,
            huge_pages: true,
            fast_path: true,
            pcid: false,
            cores: 1,
            root_cnode_bits: 16,
            max_untyped_caps: 327,
            retype_fan_out_limit: 256,
            priorities: 256,
            domains: 1,
            timer_tick_ms: 2,
            time_slice_ticks: 5,
            kernel_stack_bits: 12,
            work_units_per_preemption: 100,
        }
    }
}

impl Config {
    /// The release kernel with assertions, debug system calls and printing.
    #[must_use]
    pub fn debug() -> Self {
        Self {
            debug: true,
            printing: true,
            ..Self::default()
        }
    }

    /// The configuration header that the kernel, and libsel4's descriptions, include.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a field has a value that no kernel can have.
    pub fn header(&self) -> Result<String, Error> {
        self.check()?;
        let mut header =
            String::from("/* Generated from kernel::Config; do not edit. */\n#pragma once\n");
        let mut define = |name: &str, value: u32| {
            header += &format!("#define CONFIG_{name} {value}\n");
        };

        // The platform, and what it is made to match.
        for name in [
            "ARCH_X86",
            "ARCH_X86_64",
            "PLAT_PC99",
            "IRQ_IOAPIC",
            "XAPIC",
            "SYSCALL",
            "FSGSBASE_INST",
            "HAVE_FPU",
            "FXSAVE",
        ] {
            define(name, 1);
        }
        define("WORD_SIZE", 64);
        define("CACHE_LN_SZ", 64);
        define("XSAVE_SIZE", 512);
        define("FPU_MAX_RESTORES_SINCE_SWITCH", 64);
        define("MAX_NUM_IOAPIC", 1);

        // An option is tested by whether it is defined.
        for (name, wanted) in [
            ("DEBUG_BUILD", self.debug),
            ("PRINTING", self.printing),
            ("HUGE_PAGE", self.huge_pages),
            ("FASTPATH", self.fast_path),
            ("SUPPORT_PCID", self.pcid),
        ] {
            if wanted {
                define(name, 1);
            }
        }
        if self.printing {
            define("USER_STACK_TRACE_LENGTH", 16);
        }
        define("MAX_NUM_NODES", self.cores);
        define("ROOT_CNODE_SIZE_BITS", self.root_cnode_bits);
        define("MAX_NUM_BOOTINFO_UNTYPED_CAPS", self.max_untyped_caps);
        define("RETYPE_FAN_OUT_LIMIT", self.retype_fan_out_limit);
        define("NUM_PRIORITIES", self.priorities);
        define("NUM_DOMAINS", self.domains);
        define("TIMER_TICK_MS", self.timer_tick_ms);
        define("TIME_SLICE", self.time_slice_ticks);
        define("KERNEL_STACK_BITS", self.kernel_stack_bits);
        define(
            "MAX_NUM_WORK_UNITS_PER_PREEMPTION",
            self.work_units_per_preemption,
        );
        Ok(header)
    }

    fn check(&self) -> Result<(), Error> {
        let checks: [(&'static str, u32, RangeInclusive<u32>); 10] = [
            ("cores", self.cores, 1..=8),
            ("root_cnode_bits", self.root_cnode_bits, 4..=18),
            ("max_untyped_caps", self.max_untyped_caps, 1..=327),
            (
                "retype_fan_out_limit",
                self.retype_fan_out_limit,
                1..=65_536,
            ),
            ("priorities", self.priorities, 1..=256),
            ("domains", self.domains, 1..=256),
            ("timer_tick_ms", self.timer_tick_ms, 1..=1_000),
            ("time_slice_ticks", self.time_slice_ticks, 1..=1_000),
            ("kernel_stack_bits", self.kernel_stack_bits, 12..=16),
            (
                "work_units_per_preemption",
                self.work_units_per_preemption,
                1..=1_000_000,
            ),
        ];
        for (field, value, range) in checks {
            if !range.contains(&value) {
                return Err(Error::Config {
                    field,
                    value: value.into(),
                    must: format!("from {} to {}", range.start(), range.end()),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
