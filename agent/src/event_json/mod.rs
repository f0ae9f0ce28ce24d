//! Events as newline-delimited JSON: lines to records on the way in, and back on the way out.
//!
//! In, the *value* of a record is the line itself, byte for byte without the blanks around it; key
//! and timestamp are taken from named fields of it. Or a line is a whole record, as one is read.
//! Out, each record is one JSON object; its shape is drawn at [`output::write_record`].

mod input;
mod output;
pub(crate) mod whole;

pub use input::{BadLine, Event, LineProblem, LineReader, LineShape};
pub use output::{Correction, Header, Record, RecordClock, write_record};
