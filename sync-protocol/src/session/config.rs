//! What a session may use and how long it waits.

use core::fmt;

use super::Role;
use crate::limits::{
    CONTROL_BYTES_MIN, CONTROL_RESERVE_BYTES, FRAME_BYTES_CAP, FRAME_BYTES_EARLY, FRAME_BYTES_MIN,
    FRAME_PREFIX_BYTES, PROTOCOL_MAX, PROTOCOL_MIN, credit_bytes_min,
};
use crate::message::Features;
use crate::time::Duration;

/// The versions of the protocol that one end speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Versions {
    /// Those that this code speaks. To state others is for tests of nodes that are older or newer.
    pub const OURS: Self = Self { oldest: PROTOCOL_MIN, newest: PROTOCOL_MAX };
}

/// The settings of a session. [`Config::standard`] has the usual ones for a length of frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// What this node speaks.
    pub versions: Versions,
    /// What this node can do beyond the version.
    pub features: Features,
    /// What a dialer takes the other end to understand until it has heard its hello. A listener
    /// that does not ends the session, so only what every listener can do belongs here.
    pub features_early: Features,
    /// The longest frame that the other end may send, 1 to 260 KiB. Each channel may gather one.
    pub frame_bytes_max: usize,
    /// Bytes that the other end may have under way on all lanes, at least four frames. Too low
    /// starves long links; too high delays whatever is urgent and costs memory behind the session.
    pub credit_bytes: u64,
    /// Bytes of one lane that the transport may hold and has not sent, at least a frame. Too high
    /// delays whatever is urgent.
    pub lane_bytes_max: usize,
    /// Bytes of control messages that wait to be sent, at least 1,280.
    pub control_bytes_max: usize,
    /// A ping is sent when something was said, and nothing has been heard for so long; 10 s. Too
    /// high leaves what a bad way swallowed under way for longer.
    pub ping_after: Duration,
    /// A dialer that has said nothing either pings after so long, a listener `ping_after` later;
    /// 25 s, and at least `ping_after`. Too high loses the mapping of a NAT; too low costs bytes
    /// on idle links.
    pub ping_idle_after: Duration,
    /// The other end is given up when a ping has been followed by nothing for so long; 20 s.
    pub pong_within: Duration,
    /// The other end is given up when the session is not open after so long; 20 s.
    pub handshake_within: Duration,
    /// A probe counts as unanswered after so long; 5 s.
    pub probe_within: Duration,
}

/// Settings that cannot work. The message says which and what it needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `frame_bytes_max` is out of range, or less than a listener must take.
    FrameBytes,
    /// `credit_bytes` is less than four frames.
    CreditBytes,
    /// `lane_bytes_max` is less than a frame.
    LaneBytes,
    /// `control_bytes_max` is too small for a hello and what is kept free.
    ControlBytes,
    /// `ping_idle_after` is shorter than `ping_after`.
    Pings,
    /// The buffers or lanes that the session's type gives are too few.
    Memory,
}

impl Config {
    /// The usual settings for frames of up to that length.
    pub const fn standard(frame_bytes_max: usize) -> Self {
        Self {
            versions: Versions::OURS,
            features: Features::NONE,
            features_early: Features::NONE,
            frame_bytes_max,
            credit_bytes: 2 * credit_bytes_min(frame_bytes_max),
            lane_bytes_max: 2 * (frame_bytes_max + FRAME_PREFIX_BYTES),
            control_bytes_max: CONTROL_RESERVE_BYTES + FRAME_PREFIX_BYTES + frame_bytes_max,
            ping_after: Duration::from_secs(10),
            // Most NATs keep a mapping for 30 s, and a day of such pings stays below a megabyte.
            ping_idle_after: Duration::from_secs(25),
            pong_within: Duration::from_secs(20),
            handshake_within: Duration::from_secs(20),
            probe_within: Duration::from_secs(5),
        }
    }

    /// Whether the settings can work for that role.
    ///
    /// # Errors
    /// They cannot; the first that is wrong is named.
    pub fn check(&self, role: Role) -> Result<(), ConfigError> {
        let least = match role {
            Role::Dialer => FRAME_BYTES_MIN,
            Role::Listener => FRAME_BYTES_EARLY,
        };
        let wrong = if !(least..=FRAME_BYTES_CAP).contains(&self.frame_bytes_max) {
            ConfigError::FrameBytes
        } else if self.credit_bytes < credit_bytes_min(self.frame_bytes_max) {
            ConfigError::CreditBytes
        } else if self.lane_bytes_max < FRAME_BYTES_MIN + FRAME_PREFIX_BYTES {
            ConfigError::LaneBytes
        } else if self.control_bytes_max < CONTROL_BYTES_MIN {
            ConfigError::ControlBytes
        } else if self.ping_idle_after < self.ping_after {
            ConfigError::Pings
        } else {
            return Ok(());
        };
        Err(wrong)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameBytes => write!(
                f,
                "frame_bytes_max must be {FRAME_BYTES_MIN} to {FRAME_BYTES_CAP}, and at least \
                 {FRAME_BYTES_EARLY} on a node that listens"
            ),
            Self::CreditBytes => f.write_str("credit_bytes must be at least four frames"),
            Self::LaneBytes => {
                write!(
                    f,
                    "lane_bytes_max must be at least {}",
                    FRAME_BYTES_MIN + FRAME_PREFIX_BYTES
                )
            }
            Self::ControlBytes => {
                write!(f, "control_bytes_max must be at least {CONTROL_BYTES_MIN}")
            }
            Self::Pings => f.write_str("ping_idle_after must be at least ping_after"),
            Self::Memory => f.write_str("the session's buffers cannot hold what its settings say"),
        }
    }
}

impl core::error::Error for ConfigError {}
