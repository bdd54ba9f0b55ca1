// SPDX-License-Identifier: MIT OR Apache-2.0

//! The largest pages that base and size are multiples of: fewest page tables and TLB
//! entries without a byte of waste.

use protocol::PageSize;

use super::PageSizePolicy;

/// The largest page size that base and size are both multiples of; the smallest if none
/// is.
#[derive(Clone, Copy, Debug)]
pub struct LargestFit;

impl PageSizePolicy for LargestFit {
    fn page_size(&self, base: u64, size: u64) -> PageSize {
        let fits = |page: &PageSize| (base | size).is_multiple_of(page.bytes());
        let largest = PageSize::ALL.into_iter().rev().find(fits);
        largest.unwrap_or(PageSize::Small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_page_that_divides_base_and_size_is_chosen() {
        const M: u64 = 1 << 20;
        const G: u64 = 1 << 30;
        for (base, size, page) in [
            (512 * G, 3 * G, PageSize::Huge),
            (512 * G, 3 * G + 2 * M, PageSize::Large),
            (512 * G + 2 * M, G, PageSize::Large),
            (512 * G + 4096, G, PageSize::Small),
            (512 * G, 2 * M - 4096, PageSize::Small),
            (512 * G, 1, PageSize::Small),
        ] {
            assert_eq!(
                LargestFit.page_size(base, size),
                page,
                "{base:#x} {size:#x}"
            );
        }
    }
}
