// SPDX-License-Identifier: MIT OR Apache-2.0

//! What two different programs change, and others iterate.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use client_lib::{DataVas, Mode, SegmentOptions};
use common::failure::check;
use common::{Failure, Outcome};
use storage::{Heap, LEAST_BYTES, Store, VasBTreeMap, VasBox, VasHashMap, VasList, VasString};

use crate::board;
use crate::content::{Make, Private};

/// The VAS.
pub const NAME: &str = "table";

/// Lets a group read.
pub const OPTIONS: SegmentOptions = SegmentOptions::new(LEAST_BYTES as u64, Mode(0o640));

/// What the programs share.
#[derive(Store)]
pub struct Table<'v> {
    /// A hash map.
    pub words: VasHashMap<'v, VasString<'v>, u64>,
    /// An ordered map.
    pub tree: VasBTreeMap<'v, u64, VasString<'v>>,
    /// A list.
    pub list: VasList<'v, VasString<'v>>,
    /// Programs that have written, one behind the other.
    pub programs: Option<VasBox<'v, Program<'v>>>,
}

/// A program, as it says of itself. Its addresses are stored as mere numbers.
#[derive(Store)]
pub struct Program<'v> {
    /// Its name.
    pub name: VasString<'v>,
    /// Where in it the code lies that inserts into the hash map.
    pub function: u64,
    /// Where in it a constant of this library lies.
    pub constant: u64,
    /// The one that wrote before.
    pub before: Option<VasBox<'v, Program<'v>>>,
}

/// The same in private memory.
#[derive(Default)]
pub struct Expected {
    words: BTreeMap<String, u64>,
    tree: BTreeMap<u64, String>,
    list: VecDeque<String>,
}

/// Something that has an address in each program.
static CONSTANT: [u8; 3] = *b"vas";

/// A program that changes the table.
///
/// What works on the table is generic over it: each program has code of its own for that, compiled
/// with it.
pub trait Changes {
    /// Its name.
    const NAME: &str;
}

/// The one that inserts, and writes at the end.
pub struct Early;

impl Changes for Early {
    const NAME: &str = "early";
}

/// The one that changes.
pub struct Late;

impl Changes for Late {
    const NAME: &str = "late";
}

/// What the programs do, for both kinds of collections.
macro_rules! steps {
    ($module:ident [$($stay:lifetime)?] $table:ty, $make:ty) => {
        mod $module {
            use super::*;

            #[inline(never)]
            pub(super) fn insert<$($stay,)? P: Changes>(table: &mut $table, make: $make) {
                table.list.push_back(make.text(P::NAME));
                for number in 0..400u64 {
                    let word = format!("word {number}");
                    table.words.insert(make.text(&word), number);
                    table.tree.insert(number * 7 % 401, make.text(&word));
                    table.list.push_back(make.text(&word));
                }
            }

            pub(super) fn change<$($stay,)? P: Changes>(table: &mut $table, make: $make) {
                table.list.push_back(make.text(P::NAME));
                for number in 200..700u64 {
                    let word = format!("word {number}");
                    let entry = table.words.entry(make.text(&word));
                    entry.and_modify(|old| *old += 1000).or_insert(number);
                    table.tree.insert(number * 5 % 701, make.text("again"));
                    table.list.push_front(make.text(&word));
                }
                for number in (0..700u64).step_by(3) {
                    table.words.remove(format!("word {number}").as_str());
                    table.tree.remove(&number);
                    table.list.pop_back();
                }
                table.list.retain(|word| !word.ends_with('7'));
            }

            pub(super) fn write<$($stay,)? P: Changes>(table: &mut $table, make: $make) {
                table.list.push_back(make.text(P::NAME));
                for number in 1000..1100u64 {
                    table.words.insert(make.text(&format!("last {number}")), number);
                    table.tree.insert(number, make.text("last"));
                    table.list.push_back(make.text("last"));
                }
            }
        }
    };
}

steps!(shared ['v] Table<'v>, Heap<'v>);
steps!(expected [] Expected, Private);

/// Nothing yet.
pub fn empty(heap: Heap<'_>) -> Table<'_> {
    Table {
        words: VasHashMap::new_in(heap),
        tree: VasBTreeMap::new_in(heap),
        list: VasList::new_in(heap),
        programs: None,
    }
}

/// Takes everything out of the hash map one by one, until its table is empty, and puts it back;
/// then does the same with a table that is cleared, and one that is new.
fn empty_and_fill_again<'v, P: Changes>(table: &mut Table<'v>, heap: Heap<'v>) -> Outcome {
    for round in 0..3 {
        let content: Vec<(String, u64)> = table
            .words
            .iter()
            .map(|(word, &number)| (word.as_str().into(), number))
            .collect();
        match round {
            0 => {
                for (word, _) in &content {
                    let removed = table.words.remove(word.as_str());
                    check(removed.is_some(), "a word was in the map and is not")?;
                }
            }
            1 => table.words.clear(),
            _ => table.words = VasHashMap::new_in(heap),
        }
        check(
            table.words.is_empty() && table.words.iter().next().is_none(),
            "the map is not empty",
        )?;
        check(
            table.words.get(P::NAME).is_none(),
            "a program is in an empty map",
        )?;
        for (word, number) in &content {
            check(
                table.words.get(word.as_str()).is_none(),
                "a word is in an empty map",
            )?;
            table.words.insert(heap.text(word), *number);
        }
    }
    Ok(())
}

/// Does a program's part: `insert`, `change` or `write`.
///
/// # Errors
/// What went wrong.
pub fn run<P: Changes>(part: &str) -> Outcome {
    let data = DataVas::<Table>::find(NAME)?;
    let writer = data.writer()?;
    let board = board::attach()?;
    common::calls::inside(&board, || {
        board::ask();
        Ok(())
    })?;
    writer.enter(|mut inside| {
        board::write();
        let heap = inside.heap();
        let table = inside.root_mut();
        match part {
            "insert" => shared::insert::<P>(table, heap),
            "change" => {
                shared::change::<P>(table, heap);
                empty_and_fill_again::<P>(table, heap)?;
            }
            "write" => shared::write::<P>(table, heap),
            _ => return Err(Failure::new("no such part")),
        }
        let before = table.programs.take();
        let program = Program {
            name: heap.text(P::NAME),
            function: shared::insert::<P> as fn(&mut _, _) as usize as u64,
            constant: CONSTANT.as_ptr().addr() as u64,
            before,
        };
        table.programs = Some(VasBox::new_in(program, heap));
        Ok(())
    })??;
    common::calls::detach(board)?;
    Ok(())
}

/// What is there after the parts of so many programs.
pub fn expected(parts: usize) -> Expected {
    let mut table = Expected::default();
    let all = [
        expected::insert::<Early>,
        expected::change::<Late>,
        expected::write::<Early>,
    ];
    for part in &all[..parts] {
        part(&mut table, Private);
    }
    table
}

impl<'v> Table<'v> {
    /// The programs that have written, the last one first.
    pub fn programs(&self) -> impl Iterator<Item = &Program<'v>> {
        core::iter::successors(self.programs.as_deref(), |program| {
            program.before.as_deref()
        })
    }

    /// Iterates everything, and compares.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, expected: &Expected) -> Outcome {
        let mut words: Vec<(&str, u64)> = self
            .words
            .iter()
            .map(|(word, &number)| (word.as_str(), number))
            .collect();
        words.sort_unstable();
        let expected_words = expected.words.iter();
        let expected_words = expected_words.map(|(word, &number)| (word.as_str(), number));
        check(words.into_iter().eq(expected_words), "the hash map differs")?;
        let tree = self.tree.iter().map(|(&key, word)| (key, word.as_str()));
        let expected_tree = expected.tree.iter();
        let expected_tree = expected_tree.map(|(&key, word)| (key, word.as_str()));
        check(tree.eq(expected_tree), "the ordered map differs")?;
        let list = self.list.iter().map(VasString::as_str);
        let expected_list = expected.list.iter().map(String::as_str);
        check(list.eq(expected_list), "the list differs")
    }
}
