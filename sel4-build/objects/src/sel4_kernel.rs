// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's own invocations.

use core::sync::atomic::AtomicU64;

use protocol::address_map::{LOCKING, PAGE_BYTES, SERVER_LOCK_SETS, SERVER_LOCKS, SERVER_WINDOW};
use protocol::limits::{ATTACHMENTS, SEGMENTS, VASES};
use protocol::lock::{Lock, LockSet};
use protocol::process::slot;
use protocol::{Access, Badge, PageSize};
use sel4::{CapRights, MessageInfo, ObjectType, VmAttributes, cap};

use crate::kernel::{Kernel, KernelError, Object, Slot, TableLevel, Timer};

const DEPTH: u8 = u64::BITS as u8;
const CNODE: cap::CNode = cap::CNode::from_bits(slot::CNODE);

// The root task finds its CNode in the same slot as every process.
const _: () = assert!(slot::CNODE == sel4::init_slot::CNODE);
const _: () = assert!(slot::VSPACE == sel4::init_slot::VSPACE);

/// The interval timer (Intel 8254).
mod pit {
    use protocol::process::slot;
    use sel4::cap;

    const PORTS: cap::IoPort = cap::IoPort::from_bits(slot::IO_PORT);
    /// The count of channel 0, its low byte first.
    const COUNT: u16 = 0x40;
    /// Commands.
    const COMMAND: u16 = 0x43;
    /// Channel 0 counts down once from the number that comes then, and interrupts at 0 (mode 0).
    const COUNT_ONCE: u8 = 0b0011_0000;
    /// The count of channel 0 is kept to be read.
    const LATCH: u8 = 0;

    // Whoever has no caps to the ports has no timer either.

    fn write(port: u16, byte: u8) {
        let _ = PORTS.out8(port.into(), byte.into());
    }

    pub fn start(ticks: u16) {
        write(COMMAND, COUNT_ONCE);
        for byte in ticks.to_le_bytes() {
            write(COUNT, byte);
        }
    }

    pub fn count() -> u16 {
        write(COMMAND, LATCH);
        u16::from_le_bytes([(); 2].map(|()| PORTS.in8(COUNT).unwrap_or(0)))
    }
}

/// The kernel that runs below, as seen from a task whose single-level CNode is in the slot
/// that is `CNODE` in every task.
#[derive(Clone, Copy, Debug)]
pub struct Sel4;

fn result(result: Result<(), sel4::Error>) -> Result<(), KernelError> {
    result.map_err(|error| KernelError(error.number()))
}

fn rights(access: Access) -> CapRights {
    match access {
        Access::ReadOnly => CapRights::READ,
        Access::ReadWrite => CapRights::ALL,
    }
}

impl Kernel for Sel4 {
    /// Asked of the kernel itself: to switch to the own root changes nothing, and a kernel
    /// without the extension knows no invocation of a root.
    fn shares_tables(&mut self) -> bool {
        cap::PML4::from_bits(slot::VSPACE).switch().is_ok()
    }

    fn retype(
        &mut self,
        untyped: Slot,
        object: Object,
        first: Slot,
        count: u32,
    ) -> Result<(), KernelError> {
        let (object, size_bits) = match object {
            Object::Untyped { bits } => (ObjectType::Untyped, bits),
            Object::Pml4 => (ObjectType::PML4, 0),
            Object::Table(TableLevel::Pdpt) => (ObjectType::PDPT, 0),
            Object::Table(TableLevel::PageDirectory) => (ObjectType::PageDirectory, 0),
            Object::Table(TableLevel::PageTable) => (ObjectType::PageTable, 0),
            Object::Frame(PageSize::Small) => (ObjectType::SmallPage, 0),
            Object::Frame(PageSize::Large) => (ObjectType::LargePage, 0),
            Object::Frame(PageSize::Huge) => (ObjectType::HugePage, 0),
        };
        let untyped = cap::Untyped::from_bits(untyped.0.into());
        result(untyped.retype(
            object,
            size_bits.into(),
            CNODE,
            0,
            0,
            first.0.into(),
            count.into(),
        ))
    }

    fn copy(&mut self, from: Slot, to: Slot, access: Access) -> Result<(), KernelError> {
        result(CNODE.copy(
            to.0.into(),
            DEPTH,
            CNODE,
            from.0.into(),
            DEPTH,
            rights(access),
        ))
    }

    fn mint(&mut self, from: Slot, to: Slot, badge: Badge) -> Result<(), KernelError> {
        let (from, to) = (from.0.into(), to.0.into());
        // Without the right to receive: a client must not hear what others ask.
        let rights = CapRights::new(true, false, true);
        result(CNODE.mint(to, DEPTH, CNODE, from, DEPTH, rights, badge.bits()))
    }

    fn delete(&mut self, slot: Slot) {
        // Fails only for a slot that the CNode does not have.
        let _ = CNODE.delete(slot.0.into(), DEPTH);
    }

    fn revoke(&mut self, slot: Slot) {
        // As above.
        let _ = CNODE.revoke(slot.0.into(), DEPTH);
    }

    fn make_asid_pool(
        &mut self,
        control: Slot,
        untyped: Slot,
        pool: Slot,
    ) -> Result<(), KernelError> {
        let control = cap::AsidControl::from_bits(control.0.into());
        let untyped = cap::Untyped::from_bits(untyped.0.into());
        result(control.make_pool(untyped, CNODE, pool.0.into(), DEPTH))
    }

    fn assign_asid(&mut self, pool: Slot, root: Slot) -> Result<(), KernelError> {
        let root = cap::PML4::from_bits(root.0.into());
        result(cap::AsidPool::from_bits(pool.0.into()).assign(root))
    }

    fn map_table(
        &mut self,
        table: Slot,
        level: TableLevel,
        root: Slot,
        address: u64,
    ) -> Result<(), KernelError> {
        let table = table.0.into();
        let root = cap::PML4::from_bits(root.0.into());
        let attributes = VmAttributes::DEFAULT;
        result(match level {
            TableLevel::Pdpt => cap::PDPT::from_bits(table).map(root, address, attributes),
            TableLevel::PageDirectory => {
                cap::PageDirectory::from_bits(table).map(root, address, attributes)
            }
            TableLevel::PageTable => {
                cap::PageTable::from_bits(table).map(root, address, attributes)
            }
        })
    }

    fn map_frame(
        &mut self,
        frame: Slot,
        root: Slot,
        address: u64,
        access: Access,
    ) -> Result<(), KernelError> {
        let root = cap::PML4::from_bits(root.0.into());
        let frame = cap::Page::from_bits(frame.0.into());
        result(frame.map(root, address, rights(access), VmAttributes::DEFAULT))
    }

    #[allow(unsafe_code)]
    fn copy_memory(&mut self, from: u64, to: u64, bytes: u64) {
        let lies_within = |first: u64| {
            SERVER_WINDOW.contains(&first)
                && first
                    .checked_add(bytes)
                    .is_some_and(|end| end <= SERVER_WINDOW.end)
        };
        assert!(
            lies_within(from) && lies_within(to),
            "outside of the window"
        );
        // SAFETY: nothing of the program lies in the window, so no reference is disturbed; where
        // nothing is mapped the access faults. Other processes may write to the source
        // meanwhile, but not while this one runs: there is one core, and they have lower
        // priorities.
        unsafe {
            core::ptr::copy(from as *const u64, to as *mut u64, bytes as usize / 8);
        }
    }

    fn save_caller(&mut self, slot: Slot) -> Result<(), KernelError> {
        result(CNODE.save_caller(slot.0.into(), DEPTH))
    }

    fn reply(&mut self, slot: Slot, label: u64, words: &[u64], cap: Option<Slot>) {
        let registers = sel4::write_message(words);
        if let Some(Slot(cap)) = cap {
            sel4::set_extra_cap(0, cap.into());
        }
        let info = MessageInfo::new(label, 0, cap.is_some().into(), words.len() as u64);
        sel4::send(cap::Endpoint::from_bits(slot.0.into()), info, registers);
    }

    fn lock(&self, segment: u16) -> &Lock {
        shared(SERVER_LOCKS, segment, SEGMENTS, PAGE_BYTES)
    }

    fn lock_set(&self, vas: u16) -> &LockSet {
        shared(SERVER_LOCK_SETS, vas, VASES, PAGE_BYTES)
    }

    fn locking(&self, attachment: u16) -> &AtomicU64 {
        shared(
            LOCKING,
            attachment,
            ATTACHMENTS,
            size_of::<AtomicU64>() as u64,
        )
    }

    fn set_timer(&mut self, timer: Timer, ticks: Option<u16>) {
        let thread = cap::Tcb::from_bits(slot::TCB);
        // Bound only as long as it is needed, because the kernel then looks at it in each receive.
        // The kernel refuses to bind what is bound, and to unbind what is not.
        match ticks {
            Some(ticks) => {
                let notification = cap::Notification::from_bits(timer.notification.0.into());
                let _ = thread.bind_notification(notification);
                // First, or the interrupt could come while the kernel keeps it off. What may have
                // waited until now is one too many.
                let _ = cap::IrqHandler::from_bits(timer.interrupt.0.into()).ack();
                pit::start(ticks);
            }
            None => {
                let _ = thread.unbind_notification();
            }
        }
    }

    fn timer_count(&mut self) -> u16 {
        pit::count()
    }
}

/// Types of which all is atomic words.
trait AtomicWords: Sized + 'static {}
impl AtomicWords for Lock {}
impl AtomicWords for LockSet {}
impl AtomicWords for AtomicU64 {}

/// The entry `index`, below `count`, of what lies from `first` on, `stride` bytes apart, in the
/// VAS server's root.
#[allow(unsafe_code)]
fn shared<T: AtomicWords>(first: u64, index: u16, count: usize, stride: u64) -> &'static T {
    assert!(usize::from(index) < count, "no such entry");
    let address = first + u64::from(index) * stride;
    // SAFETY: nothing else of the program lies there, every entry is as large and as aligned as
    // its type asks for, and any content is valid for atomic words, which others may change.
    // Where nothing is mapped, the access faults.
    unsafe { &*(address as *const T) }
}
