// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long each request keeps the VAS server busy, of operations that take many: from the call
//! to its reply. Nobody else waits longer for one of them.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use bench::count::{Counter, Samples};
use bench::failure::Failure;
use bench::report::{Of, figure};
use client_lib::{
    Access, Command, Error, Mode, Name, PageSize, Segment, Vas, rpc, seg_alloc,
    seg_alloc_own_slots, seg_attach, seg_find, seg_free, settle, vas_create, vas_delete, vas_find,
};
use protocol::address_map::{GLOBAL, LOCAL};
use protocol::message::{
    Base, SegAlloc, SegAttach, SegAttachLocal, SegCtl, SegDetach, SegDetachLocal, SegFree, SegGrow,
    ServerStat, VasAttach, VasClone, VasDelete, VasDetach,
};
use protocol::process::{CNODE_BITS, slot};
use runtime::process;
use sel4::cap;

runtime::heap!(1 << 20);
runtime::main!(main);

const MODE: Mode = Mode(0o666);
const BASE: u64 = GLOBAL.start;
const GIB: u64 = 1 << 30;
/// VASes of which there are many.
const MANY: u64 = 500;
/// Where caps arrive; the client library stays far below.
const ARRIVAL: u64 = (1 << CNODE_BITS) - 1;

/// A segment that is measured.
#[derive(Clone, Copy)]
struct Kind {
    series: &'static str,
    page_size: PageSize,
    own_slots: bool,
}

const KINDS: [Kind; 3] = [
    Kind {
        series: "1 GiB of 4 KiB pages",
        page_size: PageSize::Small,
        own_slots: false,
    },
    Kind {
        series: "1 GiB of 4 KiB pages, slots of its own",
        page_size: PageSize::Small,
        own_slots: true,
    },
    Kind {
        series: "1 GiB of 2 MiB pages",
        page_size: PageSize::Large,
        own_slots: false,
    },
];
const HUGE: Kind = Kind {
    series: "a page of 1 GiB",
    page_size: PageSize::Huge,
    own_slots: false,
};
const USED_HUGE: Kind = Kind {
    series: "a page of 1 GiB, used before",
    ..HUGE
};

fn main() -> Result<(), Failure> {
    let steps = Steps {
        counter: Counter::new()?,
    };
    for kind in KINDS {
        let segment = seg_alloc("used", BASE, 2 * GIB, Some(kind.page_size), MODE)?;
        seg_free(&segment)?;
        settle()?;
        // It takes memory that was used.
        steps.segment(kind)?;
    }
    steps.many()?;
    steps.crowd()?;
    let huge = steps.alloc(HUGE, "huge", BASE)?;
    steps.free(HUGE, &huge)?;
    // The same page, which the kernel has to clear.
    let huge = steps.alloc(USED_HUGE, "huge", BASE)?;
    Ok(seg_free(&huge)?)
}

struct Steps {
    counter: Counter,
}

impl Steps {
    /// Repeats a request until it is done, and tells what each took.
    fn each<T>(
        &self,
        measure: &str,
        series: &str,
        mut request: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut counts = Vec::new();
        loop {
            let (count, answer) = self.counter.count(&mut request);
            counts.push(count);
            if !matches!(answer, Err(Error::Again)) {
                self.tell(measure, series, counts);
                return answer;
            }
        }
    }

    fn tell(&self, measure: &str, series: &str, counts: Vec<u64>) {
        let of = Of {
            measure,
            series,
            case: "each request",
            x: 0,
        };
        figure(of, &Samples::of(counts));
    }

    /// What others wait for while what was deleted is taken apart.
    fn settle(&self, after: &str, series: &str) -> Result<(), Error> {
        let measure = format!("server_stat after {after}");
        let mut counts = Vec::new();
        loop {
            let (count, answer) = self.counter.count(|| rpc::once(&ServerStat, []));
            counts.push(count);
            if answer?.pending == 0 {
                self.tell(&measure, series, counts);
                return Ok(());
            }
        }
    }

    fn alloc(&self, kind: Kind, name: &str, base: u64) -> Result<Segment, Error> {
        arrive();
        let request = SegAlloc {
            name: Name::new(name)?,
            base: Base::At(base),
            size: GIB,
            page_size: Some(kind.page_size),
            own_slots: kind.own_slots,
            lockable: false,
            mode: MODE,
        };
        self.each("seg_alloc", kind.series, || rpc::once(&request, []))?;
        seg_find(name)
    }

    fn free(&self, kind: Kind, segment: &Segment) -> Result<(), Error> {
        self.each("seg_free", kind.series, || {
            rpc::once(&SegFree, [segment.cptr()])
        })?;
        self.settle("seg_free", kind.series)
    }

    fn segment(&self, kind: Kind) -> Result<(), Error> {
        let series = kind.series;
        let vas = vas_create("all", MODE)?;
        let segment = self.alloc(kind, "all", BASE)?;
        let access = Access::ReadWrite;
        let both = [vas.cptr(), segment.cptr()];
        arrive();
        self.each("seg_attach", series, || {
            rpc::once(&SegAttach { access }, both)
        })?;
        arrive();
        let attached = self.each("vas_attach", series, || {
            rpc::once(&VasAttach { access }, [vas.cptr()])
        })?;
        arrive();
        let grow = SegGrow { size: 2 * GIB };
        self.each("seg_grow", series, || rpc::once(&grow, [segment.cptr()]))?;
        let attachment = attached.attachment;
        self.each("vas_detach", series, || {
            rpc::once(&VasDetach { attachment }, [])
        })?;
        self.settle("vas_detach", series)?;

        let clone = VasClone {
            name: Name::new("clone")?,
            mode: MODE,
            access,
        };
        arrive();
        self.each("vas_clone", series, || rpc::once(&clone, [vas.cptr()]))?;
        let clone = vas_find("clone")?;
        arrive();
        self.each("vas_delete", series, || {
            rpc::once(&VasDelete, [clone.cptr()])
        })?;
        self.settle("vas_delete", series)?;

        self.each("seg_detach", series, || rpc::once(&SegDetach, both))?;
        self.settle("seg_detach", series)?;
        self.free(kind, &segment)?;
        self.local(kind, &vas)?;
        vas_delete(&vas)
    }

    /// A segment of a single attachment.
    fn local(&self, kind: Kind, vas: &Vas) -> Result<(), Error> {
        let series = kind.series;
        let access = Access::ReadWrite;
        let page_size = Some(kind.page_size);
        let segment = match kind.own_slots {
            true => seg_alloc_own_slots("local", LOCAL.start, GIB, page_size, MODE)?,
            false => seg_alloc("local", LOCAL.start, GIB, page_size, MODE)?,
        };
        arrive();
        let attached = rpc::once(&VasAttach { access }, [vas.cptr()])?;
        arrive();
        let attachment = attached.attachment;
        let attach = SegAttachLocal { attachment, access };
        let cptr = segment.cptr();
        self.each("seg_attach, local", series, || rpc::once(&attach, [cptr]))?;
        let detach = SegDetachLocal { attachment };
        self.each("seg_detach, local", series, || rpc::once(&detach, [cptr]))?;
        rpc::once(&VasDetach { attachment }, [])?;
        seg_free(&segment)?;
        settle()?;
        Ok(())
    }

    /// A segment in many VASes.
    fn many(&self) -> Result<(), Error> {
        let series = format!("4 KiB in {MANY} VASes");
        let segment = seg_alloc("all", BASE, 4096, Some(PageSize::Small), MODE)?;
        for number in 0..MANY {
            let vas = vas_create(&format!("vas {number}"), MODE)?;
            seg_attach(&vas, &segment, Access::ReadWrite)?;
        }
        arrive();
        let grow = SegGrow { size: 8192 };
        let cptr = segment.cptr();
        self.each("seg_grow", &series, || rpc::once(&grow, [cptr]))?;
        let command = Command::Evict;
        let evict = SegCtl { command };
        self.each("seg_ctl, evict", &series, || rpc::once(&evict, [cptr]))?;
        for number in 0..MANY {
            vas_delete(&vas_find(&format!("vas {number}"))?)?;
        }
        seg_free(&segment)
    }

    /// What a process with many attachments leaves.
    fn crowd(&self) -> Result<(), Failure> {
        let series = format!("{MANY} VASes and twice as many attachments");
        let id = process::spawn("crowd", &format!("{MANY}"))?;
        process::wait(id)?;
        Ok(self.settle("the end of a process", &series)?)
    }
}

/// The next cap arrives in a slot that is empty.
fn arrive() {
    // Fails only for a slot beyond the CNode.
    let _ = cap::CNode::from_bits(slot::CNODE).delete(ARRIVAL, u64::BITS as u8);
    sel4::set_receive_path(slot::CNODE, ARRIVAL, u64::BITS.into());
}
