// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads what a system prints: verdicts of tests, and of the whole system.

use std::collections::VecDeque;

use image::power::{SENTINEL_FAIL, SENTINEL_PASS, SENTINEL_START};

/// How many of the last lines are kept.
const LAST_LINES: usize = 8;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// What has been printed so far.
#[derive(Default)]
pub struct Console {
    /// A possible sentinel.
    held: Vec<u8>,
    line: Vec<u8>,
    last: VecDeque<String>,
    tests: Count,
    failures: Vec<String>,
    verdict: Option<bool>,
}

impl Console {
    /// Takes printed bytes and returns what is for the user: without sentinels and
    /// carriage returns.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for byte in bytes.iter().copied().filter(|byte| *byte != b'\r') {
            if self.held.is_empty() && byte != SENTINEL_START {
                self.show(byte, &mut shown);
                continue;
            }
            self.held.push(byte);
            let is_prefix = |sentinel: &[u8]| sentinel.starts_with(&self.held);
            if self.held == SENTINEL_PASS {
                // A verdict of failure is final.
                self.verdict.get_or_insert(true);
                self.held.clear();
            } else if self.held == SENTINEL_FAIL {
                self.verdict = Some(false);
                self.held.clear();
            } else if !is_prefix(SENTINEL_PASS) && !is_prefix(SENTINEL_FAIL) {
                for byte in std::mem::take(&mut self.held) {
                    self.show(byte, &mut shown);
                }
            }
        }
        shown
    }

    /// No more comes. Returns what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        for byte in std::mem::take(&mut self.held) {
            self.show(byte, &mut shown);
        }
        if !self.line.is_empty() {
            self.show(b'\n', &mut shown);
        }
        shown
    }

    /// What the system said of itself: passed or failed.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// The tests that were told of.
    pub fn tests(&self) -> Count {
        self.tests
    }

    /// What was said of the tests that failed.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The last lines.
    pub fn last_lines(&self) -> Vec<String> {
        let unfinished = (!self.line.is_empty()).then(|| text(&self.line));
        self.last.iter().cloned().chain(unfinished).collect()
    }

    fn show(&mut self, byte: u8, shown: &mut Vec<u8>) {
        shown.push(byte);
        if byte != b'\n' {
            self.line.push(byte);
            return;
        }
        let line = text(&std::mem::take(&mut self.line));
        match test_verdict(&line) {
            Some(true) => self.tests.passed += 1,
            Some(false) => {
                self.tests.failed += 1;
                self.failures.push(line.clone());
            }
            None => {}
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a line says of a test: `test NAME ... ok`, `test NAME ... FAILED`, perhaps with a
/// reason, or nothing. Rust's test runner on the host writes the same.
fn test_verdict(line: &str) -> Option<bool> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let failed = verdict == "FAILED" || verdict.starts_with("FAILED: ");
    match (name, verdict) {
        ("", _) => None,
        (_, "ok") => Some(true),
        _ => failed.then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown when the bytes come one at a time, which is the hardest.
    fn shown(console: &mut Console, bytes: &[u8]) -> String {
        let mut shown = Vec::new();
        for byte in bytes {
            shown.extend(console.take(&[*byte]));
        }
        shown.extend(console.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn text_is_shown_without_carriage_returns_and_sentinels() {
        let mut console = Console::default();
        let text = shown(&mut console, b"one\r\ntwo\r\n\x04PASS\r\n");
        assert_eq!(text, "one\ntwo\n");
        assert_eq!(console.verdict(), Some(true));
    }

    #[test]
    fn a_sentinel_is_found_behind_an_unfinished_line() {
        let mut console = Console::default();
        assert_eq!(shown(&mut console, b"half\x04FAIL\n"), "half\n");
        assert_eq!(console.verdict(), Some(false));
    }

    #[test]
    fn what_only_begins_like_a_sentinel_is_text() {
        for text in ["\x04PASSED\n", "\x04\x04PASS", "\x04", "PASS\n"] {
            let mut console = Console::default();
            let expected = format!("{}\n", text.trim_end_matches('\n'));
            assert_eq!(shown(&mut console, text.as_bytes()), expected);
            assert_eq!(console.verdict(), None, "{text:?}");
        }
    }

    #[test]
    fn without_a_sentinel_there_is_no_verdict() {
        let mut console = Console::default();
        shown(&mut console, b"all is well\n");
        assert_eq!(console.verdict(), None);
    }

    #[test]
    fn a_verdict_of_failure_is_final() {
        let mut console = Console::default();
        shown(&mut console, b"\x04FAIL\n\x04PASS\n");
        assert_eq!(console.verdict(), Some(false));
        let mut console = Console::default();
        shown(&mut console, b"\x04PASS\n\x04FAIL\n");
        assert_eq!(console.verdict(), Some(false));
    }

    #[test]
    fn tests_are_counted() {
        let mut console = Console::default();
        shown(
            &mut console,
            b"test one ... ok\r\ntest two words ... ok\ntest three ... FAILED\n\
              test four ... FAILED: it broke ... ok\r\ntest  ... ok\ntest five ... ignored\ntest result: ok. 7 passed\n\
              a test six ... ok\n",
        );
        let expected = Count {
            passed: 2,
            failed: 2,
        };
        assert_eq!(console.tests(), expected);
        let failures = [
            "test three ... FAILED",
            "test four ... FAILED: it broke ... ok",
        ];
        assert_eq!(console.failures(), failures);
    }

    #[test]
    fn the_last_lines_are_kept_and_the_unfinished_one() {
        let mut console = Console::default();
        for number in 0..20 {
            console.take(format!("line {number}\n").as_bytes());
        }
        console.take(b"unfinis");
        let last = console.last_lines();
        assert_eq!(last.len(), LAST_LINES + 1);
        assert_eq!(last[0], "line 12");
        assert_eq!(last[LAST_LINES], "unfinis");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_they_are() {
        let mut console = Console::default();
        assert_eq!(console.take(b"\xff\x00\n"), b"\xff\x00\n");
    }
}
