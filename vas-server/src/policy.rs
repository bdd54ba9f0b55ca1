// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decisions of the server that can be exchanged.
//!
//! One module per question: the trait, one file per answer, and the list of answers by
//! name. A server binary may also pass an answer of its own.

pub mod page_size;
pub mod page_tables;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::kernel::Kernel;
use page_size::PageSizePolicy;
use page_tables::PageTablesPolicy;
use protocol::Name;

/// An answer and the name that clients are told it by.
pub struct Policy<T> {
    /// Its name.
    pub name: Name,
    /// The answer.
    pub answer: T,
}

/// The answers that a server works with.
pub struct Policies<K: 'static> {
    /// How the page tables of new VASes are kept.
    pub page_tables: Policy<PageTablesPolicy<K>>,
    /// How large the pages of segments are that do not ask for a size.
    pub page_size: Policy<&'static dyn PageSizePolicy>,
}

impl<K: Kernel> Policies<K> {
    /// The answers of these names. Without a name for the page tables it is the first that
    /// works on the kernel.
    ///
    /// # Errors
    /// If there is no answer of a name.
    pub fn by_name(
        page_tables: Option<&str>,
        page_size: &str,
        kernel: &mut K,
    ) -> Result<Self, UnknownPolicy> {
        let page_tables = match (page_tables, kernel.shares_tables()) {
            (Some(name), _) => name,
            (None, true) => "shared",
            (None, false) => "mirrored",
        };
        Ok(Policies {
            page_tables: find("page_tables", &page_tables::policies(), page_tables)?,
            page_size: find("page_size", &page_size::POLICIES, page_size)?,
        })
    }
}

/// No answer to a question has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy {
    /// The question.
    pub question: &'static str,
    /// The name.
    pub name: String,
    /// The names there are.
    pub known: Vec<&'static str>,
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownPolicy {
            question,
            name,
            known,
        } = self;
        let known = known.join(", ");
        write!(
            out,
            "no {question} policy is called {name:?}; there is: {known}"
        )
    }
}

impl core::error::Error for UnknownPolicy {}

fn find<T: Copy>(
    question: &'static str,
    answers: &[(&'static str, T)],
    name: &str,
) -> Result<Policy<T>, UnknownPolicy> {
    answers
        .iter()
        .find(|(known, _)| *known == name)
        .and_then(|&(known, answer)| {
            let name = Name::new(known).ok()?;
            Some(Policy { name, answer })
        })
        .ok_or_else(|| UnknownPolicy {
            question,
            name: name.into(),
            known: answers.iter().map(|&(known, _)| known).collect(),
        })
}
