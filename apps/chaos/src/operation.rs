// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a round may be, and how it may be refused among others that do anything.

use client_lib::Error;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident => $refusals:pat,)*) => {
        /// What a round does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation { $($(#[$doc])* $name,)* }

        impl Operation {
            /// All of them.
            pub const ALL: &[Operation] = &[$(Operation::$name),*];

            /// Whether what others do can make the service refuse it so.
            pub fn may_be_refused_with(self, error: &Error) -> bool {
                match self {
                    $(Operation::$name => matches!(error, $refusals),)*
                }
            }
        }
    };
}

use Error::{
    AlreadyAttached, InUse, LimitReached, NameExists, NotAttached, NotFound, Overlap,
    PermissionDenied, StaleAttachment, StaleHandle,
};

// Locks have their place here.
operations! {
    /// Makes a VAS.
    VasCreate => NameExists,
    /// Looks one up.
    VasFind => NotFound | PermissionDenied { .. },
    /// Attaches to one.
    VasAttach => StaleHandle { .. } | PermissionDenied { .. } | AlreadyAttached,
    /// Goes in, checks what is there, writes, and comes back.
    VasSwitch => StaleAttachment,
    /// Detaches from one.
    VasDetach => StaleAttachment,
    /// Deletes one.
    VasDelete => StaleHandle { .. } | PermissionDenied { .. } | InUse { .. },
    /// Clones one.
    VasClone => StaleHandle { .. } | PermissionDenied { .. } | NameExists,
    /// Changes mode, owner or lifetime, or takes all handles back.
    VasCtl => StaleHandle { .. } | PermissionDenied { .. },
    /// Takes the VAS away from all who are attached, or from one.
    VasEvict => StaleHandle { .. } | PermissionDenied { .. } | StaleAttachment,
    /// Makes a segment.
    SegAlloc => NameExists,
    /// Looks one up.
    SegFind => NotFound | PermissionDenied { .. },
    /// Adds one to a VAS.
    SegAttach => StaleHandle { .. } | PermissionDenied { .. } | AlreadyAttached | Overlap { .. },
    /// Removes one from a VAS.
    SegDetach => StaleHandle { .. } | PermissionDenied { .. } | NotAttached,
    /// Adds one to a single attachment.
    SegAttachLocal => StaleHandle { .. } | PermissionDenied { .. } | StaleAttachment
        | AlreadyAttached | Overlap { .. },
    /// Removes one from a single attachment.
    SegDetachLocal => StaleHandle { .. } | StaleAttachment | NotAttached,
    /// Frees one.
    SegFree => StaleHandle { .. } | PermissionDenied { .. } | InUse { .. },
    /// Clones one.
    SegClone => StaleHandle { .. } | PermissionDenied { .. } | NameExists,
    /// Makes one larger. So often only.
    SegGrow => StaleHandle { .. } | PermissionDenied { .. } | Overlap { .. } | LimitReached(_),
    /// Changes mode, owner or lifetime, or takes all handles back.
    SegCtl => StaleHandle { .. } | PermissionDenied { .. },
    /// Takes the segment out of everything.
    SegEvict => StaleHandle { .. } | PermissionDenied { .. },
}
