//! The columns of tagged texts.

use std::sync::Arc;

use parquet::errors::Result;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

/// Lists are nested as the format's specification asks for, so that every reader sees lists: a group `list` of an `element`.
const SCHEMA: &str = "
message tagged {
  optional binary text (STRING);
  optional group tokens (LIST) { repeated group list { required binary element (STRING); } }
  optional group tags (LIST) { repeated group list { required binary element (STRING); } }
  optional group spans (LIST) {
    repeated group list {
      required group element {
        required int64 start;
        required int64 end;
        required binary label (STRING);
        required binary text (STRING);
        optional double score;
        required boolean unknown;
      }
    }
  }
  optional double score;
  optional binary error (STRING);
  required boolean abstained;
  required int64 withheld;
  optional binary fields (STRING);
}";

pub(super) fn schema() -> Result<Arc<Type>> {
    Ok(Arc::new(parse_message_type(SCHEMA)?))
}
