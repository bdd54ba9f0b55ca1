// SPDX-License-Identifier: MIT OR Apache-2.0

//! What processes see in segments.

use protocol::{Access, Error, PageSize};

use super::{Attachment, Expected, Segment, Specification};
use crate::{Number, Reply, Touch, scan};

/// A page that an attachment sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    /// The segment that it is of.
    pub segment: Number,
    /// Its first address.
    pub address: u64,
    /// Its size.
    pub size: PageSize,
    /// What it may be used for there.
    pub access: Access,
}

impl Specification {
    /// The segments that an attachment sees, and what they may be used for there.
    pub(crate) fn seen_by<'a>(
        &'a self,
        attachment: &'a Attachment,
    ) -> impl Iterator<Item = (Number, &'a Segment, Access)> {
        let segments = &self.vases[&attachment.vas].segments;
        let segments = segments.iter().chain(&attachment.segments);
        let most = attachment.access;
        segments.map(move |&(number, access)| (number, &self.segments[&number], access.min(most)))
    }

    /// All pages that an attachment sees.
    pub fn pages(&self, attachment: Number) -> impl Iterator<Item = Page> {
        let seen = self.seen_by(&self.attachments[&attachment]);
        seen.flat_map(|(number, segment, access)| {
            segment.pages().map(move |address| Page {
                segment: number,
                address,
                size: segment.page_size,
                access,
            })
        })
    }

    /// The word at an address in a segment.
    pub fn word(&self, segment: Number, address: u64) -> u64 {
        let segment = &self.segments[&segment];
        let word = segment.words.get(&(address - segment.base));
        word.copied().unwrap_or(0)
    }

    /// The segment that an attachment sees at an address, and what it may be used for there.
    fn at(&self, attachment: &Attachment, address: u64) -> Option<(Number, Access)> {
        let mut seen = self.seen_by(attachment);
        let found = seen
            .find(|(_, segment, _)| (segment.base..segment.base + segment.size).contains(&address));
        found.map(|(number, _, access)| (number, access))
    }

    pub(super) fn touch(&mut self, process: usize, attachment: Number, touch: Touch) -> Expected {
        let attachment = self.attachments.get(&attachment);
        let attachment = attachment.ok_or(Error::StaleAttachment)?;
        let load = |address| {
            let (segment, _) = self.at(attachment, address).ok_or(())?;
            Ok(self.word(segment, address))
        };
        let touched = match touch {
            Touch::Load(address) => load(address),
            Touch::Scan { base, size, page } => scan(base, size, page, load),
            Touch::Store(address, value) => match self.at(attachment, address) {
                Some((segment, Access::ReadWrite)) => {
                    self.segments.entry(segment).and_modify(|segment| {
                        segment.words.insert(address - segment.base, value);
                    });
                    Ok(value)
                }
                _ => Err(()),
            },
        };
        Ok(match touched {
            Ok(word) => Reply::Touched(word),
            Err(()) => {
                self.end(process);
                Reply::Died
            }
        })
    }
}

impl Segment {
    /// The first addresses of its pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u64> {
        (self.base..self.base + self.size).step_by(self.page_size.bytes() as usize)
    }

    /// The touch that scans all of it.
    pub(crate) const fn scan(&self) -> Touch {
        Touch::Scan {
            base: self.base,
            size: self.size,
            page: self.page_size.bytes(),
        }
    }
}
