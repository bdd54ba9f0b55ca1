// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capabilities, by the type of what they are capabilities to.

use core::fmt;
use core::hash::Hash;
use core::marker::PhantomData;

/// What a capability is a capability to. See [`cap_type`] for the types there are.
pub trait CapType: Copy + Eq + Hash + 'static {
    /// The type's name, for messages.
    const NAME: &'static str;
}

/// Names a capability: its address in the calling thread's CSpace (a `seL4_CPtr`).
///
/// It is a number and owns nothing: copying it copies no capability, dropping it deletes none.
/// The type says what the program believes to be in the slot; the kernel checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cap<T: CapType> {
    bits: u64,
    kind: PhantomData<T>,
}

impl<T: CapType> Cap<T> {
    /// The address of no capability. Where the kernel allows, it means "none".
    pub const NULL: Self = Self::from_bits(0);

    /// The capability at this address.
    pub const fn from_bits(bits: u64) -> Self {
        Cap {
            bits,
            kind: PhantomData,
        }
    }

    /// Its address in the CSpace.
    pub const fn bits(self) -> u64 {
        self.bits
    }

    /// The same capability, taken to be to something else.
    pub const fn cast<U: CapType>(self) -> Cap<U> {
        Cap::from_bits(self.bits)
    }
}

impl<T: CapType> fmt::Debug for Cap<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({:#x})", T::NAME, self.bits)
    }
}

macro_rules! cap_types {
    ($($(#[$document:meta])* $name:ident)*) => {
        /// The types of capabilities: markers that exist only as parameters of [`Cap`].
        pub mod cap_type {
            $(
                $(#[$document])*
                #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
                pub enum $name {}

                impl super::CapType for $name {
                    const NAME: &'static str = stringify!($name);
                }
            )*
        }

        $(
            $(#[$document])*
            pub type $name = Cap<cap_type::$name>;
        )*
    };
}

cap_types! {
    /// Memory that objects can be made of.
    Untyped
    /// A thread.
    Tcb
    /// A table of capabilities.
    CNode
    /// Where threads meet to exchange messages.
    Endpoint
    /// A word of flags that threads signal and wait for.
    Notification
    /// The right to make handlers of interrupts.
    IrqControl
    /// One interrupt.
    IrqHandler
    /// The root table of an address space.
    PML4
    /// A table of the second level: 512 entries of 1 GiB.
    PDPT
    /// A table of the third level: 512 entries of 2 MiB.
    PageDirectory
    /// A table of the last level: 512 entries of 4 KiB.
    PageTable
    /// A page (frame) of 4 KiB, 2 MiB or 1 GiB.
    Page
    /// The right to make pools of address-space identifiers.
    AsidControl
    /// A pool of address-space identifiers.
    AsidPool
    /// The address space of a device behind an IOMMU.
    IoSpace
    /// A page table of such an address space.
    IoPageTable
    /// I/O ports.
    IoPort
    /// The right to move threads between scheduling domains.
    DomainSet
    /// Anything.
    Unspecified
}
