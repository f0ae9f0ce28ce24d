//! Versions: what nodes of a fleet speak that were built earlier or later than the others.

use landfall_node::Settings;
use landfall_node::codec;
use landfall_protocol::message::Features;
use landfall_protocol::session::Versions;

/// What a node speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// What this code speaks.
    Usual,
    /// The version before compression: what a device sends is packed nowhere. Nodes that others
    /// dial are never so old, as what they are sent early is packed.
    Older,
    /// A later version as well, and a codec that nobody else knows.
    Newer,
    /// Later versions only: nobody but its like can speak with it.
    Foreign,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 4] = [Self::Usual, Self::Older, Self::Newer, Self::Foreign];

    /// What a node speaks that is told so.
    pub fn of(settings: &Settings) -> Self {
        let is_set = |dialect: &Self| {
            let mut other = settings.clone();
            dialect.set(&mut other);
            (other.versions, other.features) == (settings.versions, settings.features)
        };
        Self::ALL.into_iter().find(is_set).unwrap_or(Self::Usual)
    }

    /// How plans name it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Older => "older",
            Self::Newer => "newer",
            Self::Foreign => "foreign",
        }
    }

    /// Lets a node speak so.
    pub fn set(self, settings: &mut Settings) {
        let Versions { oldest, newest } = Versions::OURS;
        let unknown = codec::FEATURES.with_codec(UNKNOWN_CODEC);
        (settings.versions, settings.features) = match self {
            Self::Usual => (Versions::OURS, codec::FEATURES),
            Self::Older => (Versions::OURS, Features::NONE),
            Self::Newer => (Versions { oldest, newest: newest + 1 }, unknown),
            Self::Foreign => (Versions { oldest: newest + 1, newest: newest + 2 }, unknown),
        };
    }
}

/// A codec of later versions.
const UNKNOWN_CODEC: u8 = 9;
