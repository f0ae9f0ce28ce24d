//! The node's settings: one TOML file, overridable by environment, parsed once.
//!
//! ```text
//! landfall.toml ─┐
//!                ├─▶ ConfigFile: what was written, and where ─▶ Config: complete and valid
//! LANDFALL_… ────┘
//! ```
//!
//! - Every key has one description ([`setting::Setting`]) from which come its default, its check,
//!   its error message, its environment variable and its row in `docs/configuration.md`.
//! - A key that is not described is an error.
//! - `Config` has no `Default`: an empty file is read like any other.

mod check;
mod error;
mod file;
mod kafka;
mod memory;
mod reference;
mod sections;
mod setting;
mod value;
#[cfg(feature = "views")]
mod view;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, Place, Problem};
pub use file::ConfigFile;
pub use kafka::{KAFKA_TLS, Kafka};
pub use memory::Shares;
pub use reference::reference;
pub use sections::{
    Api, Application, Hub, Lane, Log, LogFormat, LogLevel, Node, OnFull, Profile, Replicate,
    Serial, SocketFor, Storage, Topic, TrimAt, Upstream,
};
pub use setting::Setting;
pub use value::{HostPort, listen_address};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "landfall.toml";

/// Everything a node can be told, complete and checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Who the node is and whom it serves.
    pub node: Node,
    /// Which nodes it dials.
    pub upstream: Upstream,
    /// How it stores.
    pub storage: Storage,
    /// Priority classes, by name unique, highest priority first.
    pub lanes: Vec<Lane>,
    /// Topics that differ from the defaults, by name unique.
    pub topics: Vec<Topic>,
    /// Programs that are told from others, by name unique.
    pub applications: Vec<Application>,
    /// Serial lines that it listens on.
    pub serial: Vec<Serial>,
    /// Where local programs reach it.
    pub api: Api,
    /// What it logs.
    pub log: Log,
    /// What it allows the nodes that dial it.
    pub hub: Hub,
    /// The Kafka cluster behind it.
    pub kafka: Kafka,
    /// Views, by name unique.
    #[cfg(feature = "views")]
    pub views: Vec<crate::views::definition::Definition>,
}

impl Config {
    /// Reads the file at `path`, or the one in `data` if none is given; a missing file in the data
    /// directory is an empty one. `environment` is usually [`std::env::vars`].
    ///
    /// # Errors
    /// The first thing wrong, with its place and what to do.
    pub fn load(
        path: Option<&Path>,
        data: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut file = match path {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::read_if_there(&data.join(FILE_NAME))?,
        };
        file.apply_environment(environment)?;
        #[cfg(feature = "views")]
        view::add_folder(data, &mut file.views)?;
        Self::from_file(&file)
    }

    /// Checks what was written and fills in the rest.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn from_file(file: &ConfigFile) -> Result<Self, ConfigError> {
        let root = file.root();
        let config = Self {
            node: Node::read(root)?,
            upstream: Upstream::read(root)?,
            storage: Storage::read(root)?,
            lanes: sections::lanes(file)?,
            topics: file.topics().iter().map(Topic::read).collect::<Result<_, _>>()?,
            applications: file
                .applications()
                .iter()
                .map(Application::read)
                .collect::<Result<_, _>>()?,
            serial: file.serial().iter().map(Serial::read).collect::<Result<_, _>>()?,
            api: Api::read(root)?,
            log: Log::read(root)?,
            hub: Hub::read(root)?,
            kafka: Kafka::read(root)?,
            #[cfg(feature = "views")]
            views: file.views.clone(),
        };
        check::together(&config)?;
        #[cfg(feature = "views")]
        view::check_derived(&config.views, &config.topics)?;
        Ok(config)
    }

    /// The settings of `topic`, or those of a topic that nobody configured.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// The lane called `name`.
    #[must_use]
    pub fn lane(&self, name: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.name == name)
    }

    /// Where the API's Unix socket is for the node in `data`.
    #[must_use]
    pub fn socket(&self, data: &Path) -> PathBuf {
        self.api.socket.clone().unwrap_or_else(|| data.join("landfall.sock"))
    }

    /// Where the token for the API over TCP is for the node in `data`.
    #[must_use]
    pub fn api_token_file(&self, data: &Path) -> PathBuf {
        self.api.token_file.clone().unwrap_or_else(|| data.join("api.token"))
    }
}

#[cfg(test)]
mod tests;
