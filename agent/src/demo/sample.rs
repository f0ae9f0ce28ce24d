//! The bundled sample: positions of ships, as `data/README.md` describes them.

use std::ops::Range;

/// Where it is from, for whoever sees it.
pub(super) const ATTRIBUTION: &str = "\
Data: 5,000 position reports of 4,264 vessels, 2022-01-03, collected by the U.S. Coast Guard,
published by NOAA and BOEM (MarineCadastre.gov); a U.S. government work in the public domain.";

static COMPRESSED: &[u8] = include_bytes!("../../data/ais-sample.ndjson.gz");

/// The file's gzip header and its end, around the compressed lines.
const HEADER_BYTES: usize = 10;
const END_BYTES: usize = 8;
/// More than it unpacks to.
const BYTES_MAX: usize = 4 << 20;

/// Lines of JSON.
pub struct Sample {
    text: String,
    /// Where each line ends, behind its newline.
    ends: Vec<usize>,
}

impl Sample {
    /// Unpacks it.
    pub fn unpack() -> Self {
        let deflated = COMPRESSED.get(HEADER_BYTES..COMPRESSED.len() - END_BYTES);
        let text = deflated
            .and_then(|bytes| {
                miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, BYTES_MAX).ok()
            })
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.expect("the bundled file is a part of the program, and a test unpacks it");
        let ends = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { text, ends }
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all lines.
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Some of the lines, each with its newline.
    pub fn lines(&self, range: Range<usize>) -> &str {
        let end = |at: usize| match at.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(self.text.len()),
            None => 0,
        };
        self.text.get(end(range.start)..end(range.end)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_unpacks_and_is_cut_by_lines() {
        let sample = Sample::unpack();
        assert_eq!(sample.len(), 5_000);
        assert_eq!(sample.lines(0..5_000).len() as u64, sample.bytes());
        let both = [sample.lines(0..7), sample.lines(7..12)].concat();
        assert_eq!(both, sample.lines(0..12));
        for line in sample.lines(4_990..5_000).lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["mmsi"].is_u64() && value["time"].is_string(), "{line}");
        }
    }
}
