// SPDX-License-Identifier: MIT OR Apache-2.0

//! Data that processes share without a server between them (paper sections 1 and 2.3).
//!
//! Any number of shops is started at the same time. The first to come makes the book of orders; each
//! writes its orders there and reads those of all others, whose names it learns from the book. Nobody
//! has agreed on how large the book gets: it grows whenever there is no room.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use anyhow::{Context, Result, bail, ensure};
use client_lib::{DataVas, Mode, SegmentOptions};
use runtime::println;
use storage::{Heap, LEAST_BYTES, Store, VasHashMap, VasString, VasVec};

runtime::heap!(64 << 10);
runtime::main!(main);

/// The book.
#[derive(Store)]
struct Book<'v> {
    /// The shops, in the order in which they came.
    shops: VasVec<'v, VasString<'v>>,
    /// What was ordered, by the order's name.
    orders: VasHashMap<'v, VasString<'v>, Order<'v>>,
}

/// One order.
#[derive(Store)]
struct Order<'v> {
    pieces: u64,
    article: VasString<'v>,
}

/// A book without orders.
fn empty(heap: Heap<'_>) -> Book<'_> {
    Book {
        shops: VasVec::new_in(heap),
        orders: VasHashMap::new_in(heap),
    }
}

fn main() -> Result<()> {
    let info = runtime::start_info();
    let arguments: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    match *arguments {
        ["shop", name, orders] => shop(name, orders.parse()?),
        ["check", shops, orders] => check(shops.parse()?, orders.parse()?),
        _ => bail!("shop NAME ORDERS, or check SHOPS ORDERS"),
    }
}

/// Writes orders, one in each stay, and reads what others have written.
fn shop(name: &str, orders: u64) -> Result<()> {
    let options = SegmentOptions::new(LEAST_BYTES as u64, Mode(0o660));
    let book = DataVas::<Book>::find_or_create("orders", options, empty)?;
    let (reader, writer) = (book.reader()?, book.writer()?);
    writer.enter(|mut inside| {
        let shop = VasString::from_str_in(name, inside.heap());
        inside.root_mut().shops.push(shop);
    })?;
    for number in 0..orders {
        let key = format!("{name} {number}");
        writer.enter(|mut inside| {
            let heap = inside.heap();
            let key = VasString::from_str_in(&key, heap);
            let article = VasString::from_str_in("nut", heap);
            let pieces = number * 7;
            inside
                .root_mut()
                .orders
                .insert(key, Order { pieces, article });
        })?;
        sel4::yield_now();
        let found = reader.enter(|inside| {
            let book = inside.root();
            let order = book.orders.get(key.as_str());
            let latest = book.shops.last().map(|shop| shop.len());
            order.map(|order| order.pieces).zip(latest)
        })?;
        let (pieces, _) = found.with_context(|| format!("{key} has disappeared"))?;
        ensure!(pieces == number * 7, "{key}: {pieces} pieces");
    }
    Ok(())
}

/// Checks that all orders of all shops are there, and deletes the book.
fn check(shops: usize, orders: u64) -> Result<()> {
    let book = DataVas::<Book>::find("orders")?;
    let (sum, count, bytes) = book
        .reader()?
        .enter(|inside| {
            let book = inside.root();
            let mut sum = 0;
            for shop in &book.shops {
                for number in 0..orders {
                    let key = format!("{} {number}", shop.as_str());
                    let order = book.orders.get(key.as_str());
                    sum += order
                        .filter(|order| order.article.as_str() == "nut")?
                        .pieces;
                }
            }
            let bytes = inside.here().statistics().bytes;
            Some((sum, (book.shops.len(), book.orders.len()), bytes))
        })?
        .context("an order is missing")?;
    let expected = shops as u64 * (0..orders).map(|number| number * 7).sum::<u64>();
    ensure!(sum == expected, "{sum} pieces instead of {expected}");
    ensure!(
        count == (shops, shops * orders as usize),
        "{count:?} shops and orders"
    );
    ensure!(bytes > LEAST_BYTES, "the book has not grown");
    println!(
        "orders: {} orders of {} shops in {bytes} bytes",
        count.1, count.0
    );
    book.delete()?;
    Ok(())
}
