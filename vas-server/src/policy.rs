// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decisions of the server that can be exchanged.
//!
//! One module per question: the trait, one file per answer, and the list of answers by
//! name, of which the first is taken if none is named. A server binary elsewhere may add
//! answers of its own to [`Answers`] (`docs/policies.md`).

pub mod admission;
pub mod lifetime;
pub mod locks;
pub mod page_size;
pub mod page_tables;
pub mod placement;
pub mod tlb_tags;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::kernel::Kernel;
use admission::AdmissionPolicy;
use lifetime::LifetimePolicy;
use locks::LocksPolicy;
use page_size::PageSizePolicy;
use page_tables::PageTablesPolicy;
use placement::PlacementPolicy;
use protocol::{Kind, Mode, Name};
use tlb_tags::TlbTagsPolicy;

/// An answer and the name that clients are told it by.
pub struct Policy<T> {
    /// Its name.
    pub name: Name,
    /// The answer.
    pub answer: T,
}

/// A VAS or a segment that is being made.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// Which of the two.
    pub kind: Kind,
    /// Who makes it.
    pub user: u32,
    /// Who may find it.
    pub mode: Mode,
}

macro_rules! questions {
    ($($(#[$doc:meta])* $question:ident: $answer:ty = $answers:expr;)*) => {
        /// The questions, by the names that a system description has for them.
        pub const QUESTIONS: &[&str] = &[$(stringify!($question)),*];

        /// The answers there are to each question, by name. The first is taken if none is
        /// named.
        pub struct Answers<K: 'static> {
            $($(#[$doc])* pub $question: Vec<(&'static str, $answer)>,)*
        }

        /// The answers that a server works with.
        pub struct Policies<K: 'static> {
            $($(#[$doc])* pub $question: Policy<$answer>,)*
        }

        impl<K: Kernel> Answers<K> {
            /// Those of this crate; first among those for page tables are those that work on
            /// the kernel.
            pub fn new(kernel: &mut K) -> Self {
                let mut answers = Answers { $($question: $answers.to_vec(),)* };
                let shares_tables = kernel.shares_tables();
                let fails = |policy: &PageTablesPolicy<K>| policy.shares_tables && !shares_tables;
                answers.page_tables.sort_by_key(|(_, policy)| fails(policy));
                answers
            }

            /// Those of these names, each given with its question.
            ///
            /// # Errors
            /// If there is no such question, or no such answer to it.
            pub fn choose(&self, chosen: &[(&str, &str)]) -> Result<Policies<K>, UnknownPolicy> {
                let mut questions = chosen.iter().map(|(question, _)| question);
                if let Some(&question) = questions.find(|name| !QUESTIONS.contains(name)) {
                    return Err(UnknownPolicy::Question(question.into()));
                }
                Ok(Policies {
                    $($question: find(stringify!($question), &self.$question, chosen)?,)*
                })
            }
        }
    };
}

questions! {
    /// How the page tables of new VASes are kept.
    page_tables: PageTablesPolicy<K> = page_tables::policies();
    /// How large the pages of segments are that do not ask for a size.
    page_size: &'static dyn PageSizePolicy = page_size::POLICIES;
    /// Where segments lie.
    placement: &'static dyn PlacementPolicy = placement::POLICIES;
    /// The lock mode of new VASes.
    locks: &'static dyn LocksPolicy = locks::POLICIES;
    /// Which VASes should have tags in the TLB.
    tlb_tags: &'static dyn TlbTagsPolicy = tlb_tags::POLICIES;
    /// Who may have one more object.
    admission: &'static dyn AdmissionPolicy = admission::POLICIES;
    /// The lifetime of new VASes and segments.
    lifetime: &'static dyn LifetimePolicy = lifetime::POLICIES;
}

/// A policy that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// No question has this name.
    Question(String),
    /// No answer to a question has this name.
    Answer {
        /// The question.
        question: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnknownPolicy::Question(name) => {
                let known = QUESTIONS.join(", ");
                write!(out, "no policy is about {name:?}; there is: {known}")
            }
            UnknownPolicy::Answer {
                question,
                name,
                known,
            } => {
                let known = known.join(", ");
                write!(
                    out,
                    "no {question} policy is called {name:?}; there is: {known}"
                )
            }
        }
    }
}

impl core::error::Error for UnknownPolicy {}

/// The answer to a question that was chosen, or else the first.
fn find<T: Copy>(
    question: &'static str,
    answers: &[(&'static str, T)],
    chosen: &[(&str, &str)],
) -> Result<Policy<T>, UnknownPolicy> {
    let mut chosen = chosen.iter().filter(|(other, _)| *other == question);
    let wanted = chosen.next().map(|&(_, name)| name);
    answers
        .iter()
        .find(|(known, _)| wanted.is_none_or(|wanted| *known == wanted))
        .and_then(|&(known, answer)| {
            let name = Name::new(known).ok()?;
            Some(Policy { name, answer })
        })
        .ok_or_else(|| UnknownPolicy::Answer {
            question,
            name: wanted.unwrap_or_default().into(),
            known: answers.iter().map(|&(known, _)| known).collect(),
        })
}
