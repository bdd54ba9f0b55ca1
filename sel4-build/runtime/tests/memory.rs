// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory functions, against those of Rust's slices.

#[path = "../src/memory.rs"]
mod memory;

/// Every count up to three blocks of 32 bytes and more, at every alignment.
fn cases() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..110).flat_map(|count| (0..9).flat_map(move |to| (0..9).map(move |from| (count, to, from))))
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index * 7 + index / 256) as u8)
        .collect()
}

#[test]
fn memcpy_copies_just_what_it_is_told() {
    for (count, to, from) in cases() {
        let source = numbered(140);
        let mut destination = vec![0xee; 140];
        let mut expected = destination.clone();
        expected[to..to + count].copy_from_slice(&source[from..from + count]);

        let start = destination[to..].as_mut_ptr();
        // SAFETY: both ranges lie in their vectors.
        let returned =
            unsafe { memory::memcpy(start.cast(), source[from..].as_ptr().cast(), count) };
        assert_eq!(returned, start.cast());
        assert_eq!(destination, expected, "{count} bytes from {from} to {to}");
    }
}

#[test]
fn memmove_copies_between_regions_that_overlap_either_way() {
    for count in 0..110 {
        for to in 0..50 {
            for from in [0, 1, 7, 8, 9, 24, 25, 31, 32, 33, 49] {
                let mut moved = numbered(160);
                let mut expected = moved.clone();
                expected.copy_within(from..from + count, to);

                let base = moved.as_mut_ptr();
                // SAFETY: both ranges lie in the vector.
                unsafe { memory::memmove(base.add(to).cast(), base.add(from).cast(), count) };
                assert_eq!(moved, expected, "{count} bytes from {from} to {to}");
            }
        }
    }
}

#[test]
fn memset_fills_just_what_it_is_told_with_the_lowest_byte() {
    for (count, to, _) in cases() {
        let mut filled = vec![0xee_u8; 140];
        let mut expected = filled.clone();
        expected[to..to + count].fill(0xa5);
        // SAFETY: the range lies in the vector.
        unsafe { memory::memset(filled[to..].as_mut_ptr().cast(), 0x7fff_fea5, count) };
        assert_eq!(filled, expected, "{count} bytes at {to}");
    }
}

#[test]
fn memcmp_orders_by_the_first_byte_that_differs() {
    for (count, left, right) in cases() {
        let bytes = numbered(count);
        let mut a = vec![0; left];
        a.extend(&bytes);
        let mut b = vec![0; right];
        b.extend(&bytes);
        let compare = |a: &[u8], b: &[u8]| {
            // SAFETY: both have `count` bytes left.
            let order = unsafe {
                memory::memcmp(a[left..].as_ptr().cast(), b[right..].as_ptr().cast(), count)
            };
            // SAFETY: as above.
            let equal = unsafe {
                memory::bcmp(a[left..].as_ptr().cast(), b[right..].as_ptr().cast(), count)
            };
            assert_eq!(order == 0, equal == 0);
            order.cmp(&0)
        };
        assert_eq!(compare(&a, &b), std::cmp::Ordering::Equal);
        for place in 0..count {
            for change in [1, 0x7f, 0x80, 0xff] {
                let before = b[right + place];
                b[right + place] = before.wrapping_add(change);
                // A later byte that differs the other way does not count.
                let last = b.len() - 1;
                let kept = b[last];
                if place + 1 < count {
                    b[last] = !kept;
                }
                assert_eq!(
                    compare(&a, &b),
                    a[left..].cmp(&b[right..]),
                    "{count} {place}"
                );
                b[last] = kept;
                b[right + place] = before;
            }
        }
    }
}

#[test]
fn strlen_counts_up_to_the_first_zero() {
    for length in 0..40 {
        let mut text = vec![b'x'; length];
        text.extend([0, b'y', 0]);
        // SAFETY: there is a zero.
        assert_eq!(unsafe { memory::strlen(text.as_ptr().cast()) }, length);
    }
}
