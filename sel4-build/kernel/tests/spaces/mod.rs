// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests `model` and `vspace` share.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod random;
pub mod scope;
pub mod script;
pub mod world;
