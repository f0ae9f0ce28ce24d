//! Every limit of the protocol, in one place.

use landfall_core::limits::{ENTRY_BYTES_MAX, JOINED_BYTES_MAX, LANES_MAX};

/// The oldest version of the protocol that this code speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// The newest version of the protocol that this code speaks.
pub const PROTOCOL_MAX: u16 = 1;

/// The longest frame that may ever be agreed on, without its prefix: a full body and its head.
pub const FRAME_BYTES_CAP: usize = ENTRY_BYTES_MAX + 4 * 1024;
/// The shortest limit on frames that an end may state. Every hello fits.
pub const FRAME_BYTES_MIN: usize = 1024;
/// The longest frame that a dialer sends before it has heard the other end's limit. Whoever listens
/// takes frames of this length: a joined body and its head.
pub const FRAME_BYTES_EARLY: usize = JOINED_BYTES_MAX + 2 * 1024;
/// Bytes of a frame's prefix.
pub const FRAME_PREFIX_BYTES: usize = 3;
/// Bytes that a dialer may send on lanes before it has heard what it is granted.
pub const CREDIT_BYTES_EARLY: u64 = credit_bytes_min(FRAME_BYTES_EARLY);

/// The smallest credit window for frames of that length. Grants come in halves of a window and a
/// quarter is kept for the most urgent lane; what remains must take a frame.
pub const fn credit_bytes_min(frame_bytes_max: usize) -> u64 {
    4 * (frame_bytes_max + FRAME_PREFIX_BYTES) as u64
}

/// Channels of a connection: control and the lanes.
pub const CHANNELS_MAX: usize = 1 + LANES_MAX;
/// The longest name of a lane.
pub const LANE_NAME_BYTES_MAX: usize = 15;
/// The longest statement of the software that a node runs.
pub const SOFTWARE_BYTES_MAX: usize = 31;
/// The longest id of an enrolment token.
pub const TOKEN_BYTES_MAX: usize = 32;
/// The longest secret of an enrolment token.
pub const SECRET_BYTES_MAX: usize = 32;
/// The longest explanation in a goodbye or a refusal; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 120;
/// The most streams in one message; a longer list is sent as several.
pub const STREAMS_MAX: usize = 256;
/// The longest note of a machine's clock. It fits the shortest frame beside a site's name.
pub const CLOCK_NOTE_BYTES_MAX: usize = 640;
/// The longest wait that a goodbye may ask for, in milliseconds: an hour.
pub const RETRY_AFTER_MS_MAX: u32 = 3_600_000;

/// Room in the control queue that is kept for a goodbye, whatever else is queued.
pub const GOODBYE_BYTES_MAX: usize = FRAME_PREFIX_BYTES + 1 + 1 + 4 + 1 + TEXT_BYTES_MAX;
/// Room in the control queue that is kept for what the session itself says: a goodbye, and a ping,
/// a pong, a probe, its answer and a credit.
pub const CONTROL_RESERVE_BYTES: usize = GOODBYE_BYTES_MAX + 5 * NUMBER_BYTES_MAX;
/// The longest frame that holds only a number, with its prefix.
pub const NUMBER_BYTES_MAX: usize = FRAME_PREFIX_BYTES + 1 + 10;
/// The smallest control queue: a hello, or any message in the shortest frame, and the reserve.
pub const CONTROL_BYTES_MIN: usize = FRAME_PREFIX_BYTES + FRAME_BYTES_MIN + CONTROL_RESERVE_BYTES;

const _: () = assert!(FRAME_BYTES_EARLY <= FRAME_BYTES_CAP, "an early frame is a frame");
const _: () = assert!(FRAME_BYTES_CAP < 1 << 24, "a frame's length fits its prefix");
const _: () = assert!(CONTROL_BYTES_MIN <= 1280, "a small device's buffers suffice");
