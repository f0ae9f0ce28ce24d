//! The checksum over all that is stored and sent.

use landfall_core::checksum::Checksum;

/// CRC-32C by the machine's own instructions, where it has them.
#[must_use]
pub fn checksum() -> Checksum {
    Checksum(crc32c::crc32c_append)
}
