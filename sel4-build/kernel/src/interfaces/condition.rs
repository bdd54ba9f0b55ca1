// SPDX-License-Identifier: MIT OR Apache-2.0
//! Preprocessor conditions in interface descriptions.

use std::collections::BTreeMap;

/// The macros that a kernel is configured with (`CONFIG_..`), and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions(BTreeMap<String, String>);

impl Definitions {
    /// The macros that a configuration header defines.
    pub fn from_header(header: &str) -> Self {
        let defines = header
            .lines()
            .filter_map(|line| line.trim().strip_prefix("#define "));
        let macros = defines.map(|define| {
            let (name, value) = define.split_once(' ').unwrap_or((define, ""));
            (name.to_owned(), value.trim().to_owned())
        });
        Definitions(macros.collect())
    }

    /// Whether the condition holds, as the C preprocessor would say; `None` if it is of a form
    /// that no description of seL4 5.0.0 uses.
    pub(super) fn satisfy(&self, condition: &str) -> Option<bool> {
        let condition = condition.trim();
        if let Some(name) = condition.strip_prefix("defined") {
            let name = name.trim();
            let name = name
                .strip_prefix('(')
                .map_or(Some(name), |rest| rest.strip_suffix(')'))?;
            return is_name(name).then(|| self.0.contains_key(name));
        }
        let (name, bound) = condition.split_once('>')?;
        let (name, bound) = (name.trim(), bound.trim().parse::<u64>().ok()?);
        // To the preprocessor an undefined name is 0.
        let value = self
            .0
            .get(name)
            .map_or(Some(0), |value| value.parse().ok())?;
        is_name(name).then_some(value > bound)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
