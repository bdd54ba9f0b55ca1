// SPDX-License-Identifier: MIT OR Apache-2.0

//! Figures, one a line, for the builder to collect.
//!
//! A line is `figure` and an object of JSON (`sel4-build/builder/src/bench/figure.rs`). The
//! texts are this program's own and hold nothing that JSON would have to escape.

use core::fmt;

use runtime::println;

use crate::count::Samples;

/// What a figure is of.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// What was done.
    pub measure: &'a str,
    /// Which way, if there are several.
    pub series: &'a str,
    /// With how much.
    pub case: &'a str,
    /// The case as a number, for plots.
    pub x: u64,
}

impl fmt::Display for Of<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Of {
            measure,
            series,
            case,
            x,
        } = self;
        write!(
            out,
            r#""measure":"{measure}","series":"{series}","case":"{case}","x":{x}"#
        )
    }
}

/// Tells a figure.
pub fn figure(of: Of<'_>, samples: &Samples) {
    println!(
        r#"figure {{{of},"median":{},"minimum":{},"maximum":{},"repeats":{}}}"#,
        samples.median(),
        samples.minimum(),
        samples.maximum(),
        samples.repeats(),
    );
}

/// Tells why there is no figure.
pub fn not_measured(of: Of<'_>, reason: impl fmt::Display) {
    println!(r#"figure {{{of},"reason":"{reason}"}}"#);
}
