// SPDX-License-Identifier: MIT OR Apache-2.0

//! An ordered map in a VAS.
//!
//! A B-tree whose nodes lie in the vectors of their parents. What changes it looks for the place
//! first, which calls the order of the keys, then takes the memory that it needs, and only then
//! changes nodes. So neither an order that panics nor a full heap leaves half of a change.

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::iter::FusedIterator;
use core::mem;
use core::ops::{Bound, RangeBounds};
use core::slice;

use allocator_api2::alloc::{AllocError, Layout, handle_alloc_error};

use crate::{Heap, Root, Shape, Store, VasVec};

/// The least number of entries of a node that is not the root. A node is two pieces of memory to
/// look at, so there are more in each than in the standard library's, and fewer nodes to a leaf.
const LEAST: usize = 10;
/// The most.
const MOST: usize = 2 * LEAST + 1;

/// More nodes than there are from the root to a leaf: each has `LEAST + 1` children or more, and
/// 11^20 nodes need more memory than there are addresses.
const DEPTH: usize = 20;

/// Which child to take in each node from the root on; last, which entry.
type Path = heapless::Vec<u8, DEPTH>;

type Entries<'v, K, V> = VasVec<'v, (K, V)>;

struct Node<'v, K, V> {
    /// In order. There is room for `MOST`, except in the root of a map that was never used.
    entries: Entries<'v, K, V>,
    /// In a leaf none, else one in front of each entry and one behind all.
    children: VasVec<'v, Node<'v, K, V>>,
}

/// A node that two became, and the entry between them.
type Split<'v, K, V> = ((K, V), Node<'v, K, V>);

/// Nodes for those that become two, the one for the leaf last.
type Spare<'v, K, V> = heapless::Vec<Node<'v, K, V>, DEPTH>;

/// Where a key is among entries, or where it belongs. One after the other: there are few, and the
/// processor need not wait for one to know which is next.
fn search<K, V, Q>(entries: &[(K, V)], key: &Q) -> Result<usize, usize>
where
    K: Borrow<Q>,
    Q: Ord + ?Sized,
{
    for (index, (present, _)) in entries.iter().enumerate() {
        match key.cmp(present.borrow()) {
            Ordering::Greater => {}
            Ordering::Equal => return Ok(index),
            Ordering::Less => return Err(index),
        }
    }
    Err(entries.len())
}

fn step(path: &mut Path, index: usize) {
    path.push(index as u8).expect("no tree is as deep");
}

impl<'v, K, V> Node<'v, K, V> {
    const fn leaf(heap: Heap<'v>) -> Self {
        Node {
            entries: VasVec::new_in(heap),
            children: VasVec::new_in(heap),
        }
    }

    /// A node with room for all that it can hold.
    fn try_with_room(leaf: bool, heap: Heap<'v>) -> Result<Self, AllocError> {
        let mut node = Self::leaf(heap);
        let mut reserved = node.entries.try_reserve_exact(MOST);
        if !leaf {
            reserved = reserved.and(node.children.try_reserve_exact(MOST + 1));
        }
        reserved.map(|()| node).map_err(|_| AllocError)
    }

    fn is_full(&self) -> bool {
        self.entries.len() == MOST
    }

    /// The node that a path leads to, without its last step.
    fn at(&self, path: &[u8]) -> &Self {
        let (_, steps) = path.split_last().expect("a path ends in a node");
        steps
            .iter()
            .fold(self, |node, &index| &node.children[usize::from(index)])
    }

    fn entry_mut(&mut self, path: &[u8]) -> &mut (K, V) {
        let (&last, steps) = path.split_last().expect("a path ends at an entry");
        let node = steps
            .iter()
            .fold(self, |node, &index| &mut node.children[usize::from(index)]);
        &mut node.entries[usize::from(last)]
    }

    /// Puts an entry into the leaf that the path leads to.
    fn insert(
        &mut self,
        path: &[u8],
        entry: (K, V),
        spare: &mut Spare<'v, K, V>,
    ) -> Option<Split<'v, K, V>> {
        let (&index, rest) = path.split_first().expect("a path ends in a leaf");
        let index = usize::from(index);
        if rest.is_empty() {
            return self.put(index, entry, None, spare);
        }
        let (entry, child) = self.children[index].insert(rest, entry, spare)?;
        self.put(index, entry, Some(child), spare)
    }

    /// Puts an entry in, with the child behind it.
    fn put(
        &mut self,
        index: usize,
        entry: (K, V),
        child: Option<Self>,
        spare: &mut Spare<'v, K, V>,
    ) -> Option<Split<'v, K, V>> {
        if !self.is_full() {
            self.entries.insert(index, entry);
            if let Some(child) = child {
                self.children.insert(index + 1, child);
            }
            return None;
        }
        let mut right = spare.pop().expect("one for each full node");
        right.entries.extend(self.entries.drain(LEAST + 1..));
        if child.is_some() {
            right.children.extend(self.children.drain(LEAST + 1..));
        }
        let middle = self.entries.pop().expect("a full node");
        let (half, index) = match index.checked_sub(LEAST + 1) {
            None => (&mut *self, index),
            Some(index) => (&mut right, index),
        };
        half.put(index, entry, child, spare);
        Some((middle, right))
    }

    /// Takes the entry that the path leads to.
    fn remove(&mut self, path: &[u8]) -> (K, V) {
        let (&index, rest) = path.split_first().expect("a path ends at an entry");
        let index = usize::from(index);
        let removed = if !rest.is_empty() {
            self.children[index].remove(rest)
        } else if self.children.is_empty() {
            return self.entries.remove(index);
        } else {
            // The entry before it takes its place: that is in a leaf.
            let before = self.children[index].pop();
            mem::replace(&mut self.entries[index], before)
        };
        self.refill(index);
        removed
    }

    /// Takes the last entry.
    fn pop(&mut self) -> (K, V) {
        let Some(last) = self.children.last_mut() else {
            return self.entries.pop().expect("no node is empty");
        };
        let popped = last.pop();
        self.refill(self.children.len() - 1);
        popped
    }

    /// Sees to it that a child that an entry was taken from has enough.
    fn refill(&mut self, index: usize) {
        if self.children[index].entries.len() >= LEAST {
            return;
        }
        // The child and the one before it, or that behind if it is the first.
        let between = index.saturating_sub(1);
        let (lower, upper) = self.children.split_at_mut(between + 1);
        let (left, right) = (&mut lower[between], &mut upper[0]);
        let separator = &mut self.entries[between];
        if left.entries.len() > LEAST {
            let moved = left.entries.pop().expect("has enough");
            right.entries.insert(0, mem::replace(separator, moved));
            if let Some(child) = left.children.pop() {
                right.children.insert(0, child);
            }
        } else if right.entries.len() > LEAST {
            let moved = right.entries.remove(0);
            left.entries.push(mem::replace(separator, moved));
            if !right.children.is_empty() {
                left.children.push(right.children.remove(0));
            }
        } else {
            let mut right = self.children.remove(between + 1);
            let left = &mut self.children[between];
            left.entries.push(self.entries.remove(between));
            left.entries.append(&mut right.entries);
            left.children.append(&mut right.children);
        }
    }
}

/// An ordered map in a VAS: `BTreeMap` of the standard library.
pub struct VasBTreeMap<'v, K, V> {
    root: Node<'v, K, V>,
    length: usize,
}

impl<'v, K, V> VasBTreeMap<'v, K, V> {
    /// An empty map, which has no memory yet.
    pub const fn new_in(heap: Heap<'v>) -> Self {
        VasBTreeMap {
            root: Node::leaf(heap),
            length: 0,
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Drops all entries and gives their memory back.
    pub fn clear(&mut self) {
        *self = Self::new_in(self.heap());
    }

    /// The entry of the least key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The entry of the greatest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Takes the entry of the least key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.is_empty() {
            return None;
        }
        let first = self.first();
        Some(self.remove_at(&first))
    }

    /// Takes the entry of the greatest key.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        if self.is_empty() {
            return None;
        }
        let last = self.root.pop();
        self.removed();
        Some(last)
    }

    /// All entries, in order.
    pub fn iter(&self) -> Iter<'_, 'v, K, V> {
        Iter {
            front: Position::first(&self.root),
            back: Position::last(&self.root),
            remaining: self.length,
        }
    }

    /// All entries, in order, to change the values.
    pub fn iter_mut(&mut self) -> IterMut<'_, 'v, K, V> {
        let mut levels = heapless::Vec::new();
        descend(&mut levels, &mut self.root);
        IterMut {
            levels,
            remaining: self.length,
        }
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of the keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }

    /// All values, in the order of the keys, to change them.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    fn heap(&self) -> Heap<'v> {
        *self.root.entries.allocator()
    }

    /// Where the first entry is, if there is one.
    fn first(&self) -> Path {
        let mut path = Path::new();
        let mut node = Some(&self.root);
        while let Some(current) = node {
            step(&mut path, 0);
            node = current.children.first();
        }
        path
    }

    fn remove_at(&mut self, path: &[u8]) -> (K, V) {
        let entry = self.root.remove(path);
        self.removed();
        entry
    }

    /// One entry is no longer there.
    fn removed(&mut self) {
        self.length -= 1;
        if self.root.entries.is_empty()
            && let Some(only) = self.root.children.pop()
        {
            self.root = only;
        }
    }

    /// Nodes for all that become two when the leaf that the path leads to gets one entry more.
    fn spare(&mut self, path: &[u8]) -> Result<Spare<'v, K, V>, AllocError> {
        let heap = self.heap();
        let mut spare = Spare::new();
        if self.root.entries.capacity() == 0 {
            self.root = Node::try_with_room(true, heap)?;
        }
        // How many nodes are full, from the leaf upwards, before the first that is not.
        let mut full = 0;
        let mut node = &self.root;
        for &index in path {
            full = if node.is_full() { full + 1 } else { 0 };
            node = node.children.get(usize::from(index)).unwrap_or(node);
        }
        let above = usize::from(full == path.len());
        for level in (0..full + above).rev() {
            let node = Node::try_with_room(level == 0, heap)?;
            assert!(spare.push(node).is_ok(), "no tree is as deep");
        }
        Ok(spare)
    }
}

impl<'v, K: Ord, V> VasBTreeMap<'v, K, V> {
    /// Where a key is, or where it belongs in which leaf.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Path, Path>
    where
        K: Borrow<Q>,
    {
        let mut path = Path::new();
        let mut node = &self.root;
        loop {
            let found = search(&node.entries, key);
            let (Ok(index) | Err(index)) = found;
            step(&mut path, index);
            match (found, node.children.get(index)) {
                (Ok(_), _) => return Ok(path),
                (Err(_), None) => return Err(path),
                (Err(_), Some(child)) => node = child,
            }
        }
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The value of a key, and the key that is there.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut node = &self.root;
        loop {
            match search(&node.entries, key) {
                Ok(index) => return node.entries.get(index).map(pair),
                Err(index) => node = node.children.get(index)?,
            }
        }
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let mut node = &mut self.root;
        loop {
            match search(&node.entries, key) {
                Ok(index) => return Some(&mut node.entries[index].1),
                Err(index) => node = node.children.get_mut(index)?,
            }
        }
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Puts an entry in, and takes the value that the key had.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.try_insert(key, value).unwrap_or_else(|_| {
            handle_alloc_error(Layout::new::<[(K, V); MOST]>());
        })
    }

    /// Puts an entry in, and takes the value that the key had.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; key and value come back.
    pub fn try_insert(&mut self, key: K, value: V) -> Result<Option<V>, (K, V)> {
        let path = match self.find(&key) {
            Ok(path) => {
                let (_, present) = self.root.entry_mut(&path);
                return Ok(Some(mem::replace(present, value)));
            }
            Err(path) => path,
        };
        let Ok(mut spare) = self.spare(&path) else {
            return Err((key, value));
        };
        if let Some((middle, right)) = self.root.insert(&path, (key, value), &mut spare) {
            let above = spare.pop().expect("one above a full root");
            let left = mem::replace(&mut self.root, above);
            self.root.entries.push(middle);
            self.root.children.push(left);
            self.root.children.push(right);
        }
        self.length += 1;
        Ok(None)
    }

    /// Takes the value of a key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Takes the entry of a key.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let path = self.find(key).ok()?;
        Some(self.remove_at(&path))
    }

    /// Keeps those entries only for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        let mut path = self.first();
        while self.settle(&mut path) {
            let (key, value) = self.root.entry_mut(&path);
            if keep(key, value) {
                self.advance(&mut path);
            } else {
                let (key, _) = self.remove_at(&path);
                path = self.find(&key).unwrap_or_else(|path| path);
            }
        }
    }

    /// Behind the entry that the path leads to, down to a leaf.
    fn advance(&self, path: &mut Path) {
        let mut node = self.root.at(path);
        let last = path.last_mut().expect("a path ends at an entry");
        *last += 1;
        let mut index = usize::from(*last);
        while let Some(child) = node.children.get(index) {
            (node, index) = (child, 0);
            step(path, index);
        }
    }

    /// From behind the last entry of a node to the next one above, if there is any.
    fn settle(&self, path: &mut Path) -> bool {
        while let Some(&last) = path.last() {
            if usize::from(last) < self.root.at(path).entries.len() {
                return true;
            }
            path.pop();
        }
        false
    }

    /// The entries whose keys are in a range, in order. There are none if the range ends before it
    /// starts.
    pub fn range<Q: Ord + ?Sized>(&self, range: impl RangeBounds<Q>) -> Range<'_, 'v, K, V>
    where
        K: Borrow<Q>,
    {
        let mut front = match range.start_bound() {
            Bound::Unbounded => Position::first(&self.root),
            Bound::Included(key) => Position::at(&self.root, key, false),
            Bound::Excluded(key) => Position::at(&self.root, key, true),
        };
        let mut back = match range.end_bound() {
            Bound::Unbounded => Position::last(&self.root),
            Bound::Included(key) => Position::at(&self.root, key, true),
            Bound::Excluded(key) => Position::at(&self.root, key, false),
        };
        let ends = front.next().zip(back.previous());
        let ordered = |&(first, last): &(&(K, V), &(K, V))| first.0 <= last.0;
        Range {
            ends: ends.filter(ordered).map(<[_; 2]>::from),
            front,
            back,
        }
    }
}

fn pair<K, V>((key, value): &(K, V)) -> (&K, &V) {
    (key, value)
}

/// Between two entries: in each node from the root to a leaf, the number of entries before it.
struct Position<'m, 'v, K, V> {
    levels: heapless::Vec<(&'m Node<'v, K, V>, usize), DEPTH>,
}

impl<'m, 'v, K, V> Position<'m, 'v, K, V> {
    /// The position, in the leaf that `index` leads to.
    fn new(root: &'m Node<'v, K, V>, index: impl FnMut(&'m Node<'v, K, V>) -> usize) -> Self {
        let mut position = Position {
            levels: heapless::Vec::new(),
        };
        position.descend(Some(root), index);
        position
    }

    fn first(root: &'m Node<'v, K, V>) -> Self {
        Self::new(root, |_| 0)
    }

    fn last(root: &'m Node<'v, K, V>) -> Self {
        Self::new(root, |node| node.entries.len())
    }

    /// Before the entry of a key, if there is one, or behind it.
    fn at<Q: Ord + ?Sized>(root: &'m Node<'v, K, V>, key: &Q, behind: bool) -> Self
    where
        K: Borrow<Q>,
    {
        Self::new(root, |node| match search(&node.entries, key) {
            Ok(index) => index + usize::from(behind),
            Err(index) => index,
        })
    }

    fn descend(
        &mut self,
        mut child: Option<&'m Node<'v, K, V>>,
        mut index: impl FnMut(&'m Node<'v, K, V>) -> usize,
    ) {
        while let Some(node) = child {
            let index = index(node);
            assert!(
                self.levels.push((node, index)).is_ok(),
                "no tree is as deep"
            );
            child = node.children.get(index);
        }
    }

    /// The entry behind it, which it moves past.
    fn next(&mut self) -> Option<&'m (K, V)> {
        loop {
            let (node, index) = self.levels.last_mut()?;
            if let Some(entry) = node.entries.get(*index) {
                *index += 1;
                let child = node.children.get(*index);
                self.descend(child, |_| 0);
                return Some(entry);
            }
            self.levels.pop();
        }
    }

    /// The entry before it, which it moves past.
    fn previous(&mut self) -> Option<&'m (K, V)> {
        loop {
            let (node, index) = self.levels.last_mut()?;
            if let Some(before) = index.checked_sub(1) {
                *index = before;
                let entry = &node.entries[before];
                let child = node.children.get(before);
                self.descend(child, |node| node.entries.len());
                return Some(entry);
            }
            self.levels.pop();
        }
    }
}

impl<K, V> Clone for Position<'_, '_, K, V> {
    fn clone(&self) -> Self {
        Position {
            levels: self.levels.clone(),
        }
    }
}

/// The entries of a [`VasBTreeMap`], in order.
pub struct Iter<'m, 'v, K, V> {
    front: Position<'m, 'v, K, V>,
    back: Position<'m, 'v, K, V>,
    remaining: usize,
}

impl<'m, K, V> Iterator for Iter<'m, '_, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        self.front.next().map(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, '_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        self.back.previous().map(pair)
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, '_, K, V> {}

impl<K, V> FusedIterator for Iter<'_, '_, K, V> {}

impl<K, V> Clone for Iter<'_, '_, K, V> {
    fn clone(&self) -> Self {
        Iter {
            front: self.front.clone(),
            back: self.back.clone(),
            remaining: self.remaining,
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Iter<'_, '_, K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.clone()).finish()
    }
}

/// The entries of a [`VasBTreeMap`] whose keys are in a range, in order.
pub struct Range<'m, 'v, K, V> {
    /// The first and the last that are left.
    ends: Option<[&'m (K, V); 2]>,
    /// Behind the first.
    front: Position<'m, 'v, K, V>,
    /// Before the last.
    back: Position<'m, 'v, K, V>,
}

impl<'m, K, V> Iterator for Range<'m, '_, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        let [first, last] = self.ends.take()?;
        if !core::ptr::eq(first, last) {
            self.ends = self.front.next().map(|next| [next, last]);
        }
        Some(pair(first))
    }
}

impl<K, V> DoubleEndedIterator for Range<'_, '_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let [first, last] = self.ends.take()?;
        if !core::ptr::eq(first, last) {
            self.ends = self.back.previous().map(|previous| [first, previous]);
        }
        Some(pair(last))
    }
}

impl<K, V> FusedIterator for Range<'_, '_, K, V> {}

impl<K, V> Clone for Range<'_, '_, K, V> {
    fn clone(&self) -> Self {
        Range {
            ends: self.ends,
            front: self.front.clone(),
            back: self.back.clone(),
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Range<'_, '_, K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.clone()).finish()
    }
}

/// What is left of a node.
type Level<'m, 'v, K, V> = (
    slice::IterMut<'m, (K, V)>,
    slice::IterMut<'m, Node<'v, K, V>>,
);

type Levels<'m, 'v, K, V> = heapless::Vec<Level<'m, 'v, K, V>, DEPTH>;

fn descend<'m, 'v, K, V>(levels: &mut Levels<'m, 'v, K, V>, node: &'m mut Node<'v, K, V>) {
    let mut child = Some(node);
    while let Some(Node { entries, children }) = child {
        let mut children = children.iter_mut();
        child = children.next();
        let level = (entries.iter_mut(), children);
        assert!(levels.push(level).is_ok(), "no tree is as deep");
    }
}

/// The entries of a [`VasBTreeMap`], in order, to change the values.
pub struct IterMut<'m, 'v, K, V> {
    levels: Levels<'m, 'v, K, V>,
    remaining: usize,
}

impl<'m, K, V> Iterator for IterMut<'m, '_, K, V> {
    type Item = (&'m K, &'m mut V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (entries, children) = self.levels.last_mut()?;
            if let Some((key, value)) = entries.next() {
                if let Some(child) = children.next() {
                    descend(&mut self.levels, child);
                }
                self.remaining -= 1;
                return Some((key, value));
            }
            self.levels.pop();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<K, V> ExactSizeIterator for IterMut<'_, '_, K, V> {}

impl<K, V> FusedIterator for IterMut<'_, '_, K, V> {}

impl<K, V> fmt::Debug for IterMut<'_, '_, K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IterMut({})", self.remaining)
    }
}

impl<'m, 'v, K, V> IntoIterator for &'m VasBTreeMap<'v, K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, 'v, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'m, 'v, K, V> IntoIterator for &'m mut VasBTreeMap<'v, K, V> {
    type Item = (&'m K, &'m mut V);
    type IntoIter = IterMut<'m, 'v, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for VasBTreeMap<'_, K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for VasBTreeMap<'_, K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for VasBTreeMap<'_, K, V> {}

impl<K: PartialOrd, V: PartialOrd> PartialOrd for VasBTreeMap<'_, K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.iter().partial_cmp(other)
    }
}

impl<K: Ord, V: Ord> Ord for VasBTreeMap<'_, K, V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl<K: Hash, V: Hash> Hash for VasBTreeMap<'_, K, V> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.len().hash(hasher);
        self.iter().for_each(|entry| entry.hash(hasher));
    }
}

// SAFETY: its memory is the heap's, and what it holds may be stored.
unsafe impl<'v, K: Store<'v>, V: Store<'v>> Store<'v> for VasBTreeMap<'v, K, V> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("VasBTreeMap", |shape| {
            K::describe(shape);
            V::describe(shape);
        });
    }
}

impl<K: Root, V: Root> Root for VasBTreeMap<'_, K, V> {
    type At<'v> = VasBTreeMap<'v, K::At<'v>, V::At<'v>>;
}
