//! Parquet files: their rows as JSON objects, and tagged texts as a file. Both need the feature `parquet`; without it they are
//! errors.
//!
//! - `read`: [`Rows`]
//! - `tagged`: [`TaggedRow`]
//! - `schema`: columns of tagged texts; `levels`: values of a column with their nesting
//! - `write`: [`TableWriter`]
//! - `absent`: the same without the feature

#[cfg(not(feature = "parquet"))]
mod absent;
#[cfg(feature = "parquet")]
mod levels;
#[cfg(feature = "parquet")]
mod read;
#[cfg(feature = "parquet")]
mod schema;
mod tagged;
#[cfg(feature = "parquet")]
mod write;

#[cfg(not(feature = "parquet"))]
pub use self::absent::{Rows, TableWriter};
#[cfg(feature = "parquet")]
pub use self::read::Rows;
pub use self::tagged::{SpanCell, TaggedRow};
#[cfg(feature = "parquet")]
pub use self::write::TableWriter;

/// Whether Parquet is built in.
pub const IS_BUILT: bool = cfg!(feature = "parquet");
