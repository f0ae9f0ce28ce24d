//! What no setting can be checked for alone.

use std::collections::BTreeSet;

use super::Config;
use super::error::ConfigError;
use super::sections::{Application, Replicate, Serial};
use crate::coordinates::{check_site, check_topic};

/// Most lanes a node has: each takes segments, a stream and a place in every commit's end.
const LANES_MAX: usize = 8;

pub(super) fn together(config: &Config) -> Result<(), ConfigError> {
    if let Some(site) = &config.node.site {
        check_site(site).map_err(|error| ConfigError::conflict("site", error.to_string()))?;
    }
    if config.node.listen.is_none() && !config.node.advertise.is_empty() {
        let why = "is of no use without `listen`; set `listen`, such as `[::]:4520`, or remove it";
        return Err(ConfigError::conflict("advertise", why));
    }
    if config.api.tcp.is_some_and(|address| !address.ip().is_loopback()) {
        let why = "must be a loopback address, such as `127.0.0.1:4521`: the API is not encrypted";
        return Err(ConfigError::conflict("api.tcp", why));
    }
    lanes(config)?;
    applications(config)?;
    serial(config)?;
    super::kafka::check(config)?;
    super::memory::check(config)?;
    topics(config)
}

fn applications(config: &Config) -> Result<(), ConfigError> {
    let (mut names, mut users) = (BTreeSet::new(), BTreeSet::new());
    for Application { name, user, token_file } in &config.applications {
        check_site(name).map_err(|_| {
            let why = format!("`{name}` cannot be a name; use letters, digits, `.`, `_` and `-`");
            ConfigError::conflict("application.name", why)
        })?;
        if !names.insert(name) || user.is_some_and(|user| !users.insert(user)) {
            let why = format!("`{name}`, or its user, is there twice");
            return Err(ConfigError::conflict("application", why));
        }
        if user.is_none() && token_file.is_none() {
            let why = format!("`{name}` has neither `user` nor `token_file`, so it is nobody");
            return Err(ConfigError::conflict("application", why));
        }
    }
    for topic in &config.topics {
        if let Some(nobody) = topic.writers.iter().find(|writer| !names.contains(writer)) {
            let why = format!("`{}` names `{nobody}`, which is no `[[application]]`", topic.name);
            return Err(ConfigError::conflict("topic.writers", why));
        }
    }
    Ok(())
}

fn serial(config: &Config) -> Result<(), ConfigError> {
    let mut places = BTreeSet::new();
    for Serial { port, tcp, .. } in &config.serial {
        if port.is_some() == tcp.is_some() {
            let why = "needs either `port` or `tcp`, which say where the line is";
            return Err(ConfigError::conflict("serial", why));
        }
        if tcp.is_some_and(|address| !address.ip().is_loopback()) {
            let why = "must be a loopback address, such as `127.0.0.1:4530`: what is said on a \
                       line is not encrypted";
            return Err(ConfigError::conflict("serial.tcp", why));
        }
        let shared = tcp.is_some_and(|address| address.port() == 0);
        if !shared && !places.insert((port, tcp)) {
            let why = "two `[[serial]]` are the same line; put their keys into one file";
            return Err(ConfigError::conflict("serial", why));
        }
    }
    Ok(())
}

fn lanes(config: &Config) -> Result<(), ConfigError> {
    let lanes = &config.lanes;
    if lanes.is_empty() || lanes.len() > LANES_MAX {
        let why = format!("there must be 1 to {LANES_MAX} lanes, not {}", lanes.len());
        return Err(ConfigError::conflict("lane", why));
    }
    let mut names = BTreeSet::new();
    let mut priorities = BTreeSet::new();
    for lane in lanes {
        check_site(&lane.name).map_err(|_| {
            ConfigError::conflict(
                "lane.name",
                format!(
                    "`{}` cannot be a name; use at most 63 letters, digits, `.`, `_` and `-`",
                    lane.name
                ),
            )
        })?;
        if !names.insert(&lane.name) {
            let why = format!("two lanes are called `{}`; rename or remove one", lane.name);
            return Err(ConfigError::conflict("lane.name", why));
        }
        if !priorities.insert(lane.priority) {
            let why = format!("two lanes have priority {}; change one", lane.priority);
            return Err(ConfigError::conflict("lane.priority", why));
        }
        if lane.budget_bytes.0 < 2 * config.storage.segment_bytes.0 {
            let why = format!(
                "lane `{}` has {}, but needs two segments of `storage.segment_bytes` ({}); raise \
                 the one or lower the other",
                lane.name, lane.budget_bytes, config.storage.segment_bytes
            );
            return Err(ConfigError::conflict("lane.budget_bytes", why));
        }
    }
    Ok(())
}

fn topics(config: &Config) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for topic in &config.topics {
        check_topic(&topic.name)
            .map_err(|error| ConfigError::conflict("topic.name", error.to_string()))?;
        if !names.insert(&topic.name) {
            let why = format!("topic `{}` is there twice; remove one", topic.name);
            return Err(ConfigError::conflict("topic.name", why));
        }
        if topic.name.starts_with('_') {
            let why =
                format!("`{}` is internal: names with `_` first belong to the node", topic.name);
            return Err(ConfigError::conflict("topic.name", why));
        }
        if topic.replicate == Replicate::Down && config.upstream.addresses.is_empty() {
            let why = format!(
                "topic `{}` comes `down`, but nothing is above; set `upstream.addresses`",
                topic.name
            );
            return Err(ConfigError::conflict("topic.replicate", why));
        }
        if topic.replicate == Replicate::Down && !topic.writers.is_empty() {
            let why = format!("topic `{}` comes `down`: nobody here writes it", topic.name);
            return Err(ConfigError::conflict("topic.writers", why));
        }
        if config.lane(&topic.lane).is_none() {
            let lanes: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
            let why = format!(
                "topic `{}` names lane `{}`, which is none of `{}`",
                topic.name,
                topic.lane,
                lanes.join("`, `")
            );
            return Err(ConfigError::conflict("topic.lane", why));
        }
    }
    Ok(())
}
