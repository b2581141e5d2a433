//! The real `hl-serve` over HTTP, with the tiny tagger of the runtime's tests.
//!
//! - [`running`]: starts the program and speaks HTTP to it
//! - [`tagging`]: what `/tag` answers; [`inference`]: the Open Inference Protocol
//! - [`withholding`]: `--max-error`, which withholds uncertain tags
//! - [`limits`]: what is too large, too much or too slow
//! - [`documents`]: keys, metrics, ids, the OpenAPI description and the page
//! - [`reload`]: files that are replaced while they are served
//! - [`stop`]: how the program ends, and what it does not start with
//! - [`deployment`]: the files in `server/deploy`
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../runtime/tests/common/mod.rs"]
mod common;
mod deployment;
mod documents;
mod inference;
mod limits;
mod reload;
mod running;
mod schema;
mod stop;
mod tagging;
mod withholding;
