//! Starting and stopping a node with its transport and its API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::dial::Upstream;
use super::handle::Handle;
use super::input::Input;
use super::machine::{Machine, Stopped};
use super::manager::ServiceManager;
use super::open::{Opened, StartError};
use crate::api::{Access, Applications, Listener, serve};
use crate::config::{Config, Profile, SocketFor};
use crate::entropy;
use crate::identity::PublicKey;
use crate::transport::{ResetKey, Settings, Transport};
use crate::whole_file::write_whole;

/// What to wait for before the node stops by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    /// For nothing.
    Told,
    /// Until all that is here is durable at the root.
    Synced,
}

/// A running node.
#[derive(Debug)]
pub struct Daemon {
    /// What the API and the commands speak to.
    pub handle: Handle,
    /// Where it listens, if it does.
    pub listening: Option<SocketAddr>,
    /// Whom it tells how it is while it serves; nobody unless that is set.
    pub manager: Option<ServiceManager>,
    synced: watch::Receiver<bool>,
    #[cfg(feature = "views")]
    views: Option<crate::views::Keeping>,
    stopped: tokio::task::JoinHandle<Option<Stopped>>,
}

/// Inputs that may wait for the node.
const INPUTS_MAX: usize = 4_096;
/// Events of the transport that may wait.
const EVENTS_MAX: usize = 1_024;
/// The file with the key by which a restarted hub tells old peers at once.
const RESET_FILE: &str = "reset.key";

impl Daemon {
    /// Starts a node on a thread of its own. Without `network` it neither listens nor dials.
    ///
    /// # Errors
    /// An address can't be bound, or a thread can't be started.
    pub fn start(opened: Opened, network: bool) -> Result<Self, StartError> {
        let config = opened.config.clone();
        let data = opened.data.clone();
        let (inputs, taken) = mpsc::channel(INPUTS_MAX);
        let (commits, committed) = watch::channel(0);
        let (synced, is_synced) = watch::channel(false);
        let mut listening = None;
        let mut transport = None;
        if network {
            warn_of_timeouts(&config);
            let (events, reported) = mpsc::channel(EVENTS_MAX);
            let made = Transport::new(
                opened.key.clone(),
                transport_settings(&config),
                reset_key(&data)?,
                events,
            );
            if let Some(address) = config.node.listen {
                let bound = made.listen(address);
                let path = Path::new(&address.to_string()).into();
                listening = Some(bound.map_err(|error| StartError::File(path, error))?);
            }
            for line in &opened.lines {
                let bound = made.listen_serial(line.clone());
                let place = Path::new(&line.place.to_string()).into();
                let bound = bound.map_err(|error| StartError::File(place, error))?;
                if let Some(address) = bound {
                    tracing::info!(%address, "listening for serial lines");
                }
            }
            transport = Some(made);
            tokio::spawn(forward(reported, inputs.clone()));
        }
        let advertise = advertised(&config, listening);
        let upstream = upstream(&config, &opened);
        #[cfg(feature = "kafka")]
        let kafka = match network {
            true => super::kafka::KafkaEnd::start(&config, &opened, inputs.clone())?,
            false => None,
        };
        #[cfg(feature = "kafka")]
        let shared = super::shared::Shared::start(&config, &opened, network, inputs.clone())?;
        let partitions: BTreeMap<_, _> =
            config.topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| StartError::File(data.clone(), error))?;
        let log_id = opened.node.journal().log().get();
        #[allow(unused_mut, reason = "without Kafka nothing is added")]
        let mut machine = Machine::new(opened, transport, upstream, advertise, commits, synced);
        #[cfg(feature = "kafka")]
        {
            machine.kafka = kafka;
            machine.shared = shared;
            let shards = if machine.shared.is_some() { config.kafka.shards } else { 0 };
            machine.forwards = super::forwards::Forwards::new(shards);
        }
        let stopped =
            tokio::task::spawn_blocking(move || Some(runtime.block_on(machine.run(taken))));
        let appends = config.memory().appends;
        let handle = Handle::new(inputs, committed, partitions, log_id).with_room(appends);
        Ok(Self {
            handle,
            listening,
            manager: None,
            synced: is_synced,
            #[cfg(feature = "views")]
            views: None,
            stopped,
        })
    }

    /// Keeps the views that the configuration names, from here on until the node stops.
    ///
    /// # Errors
    /// A thread can't be started.
    #[cfg(feature = "views")]
    pub fn keep_views(&mut self, config: &Config, data: &Path) -> Result<(), StartError> {
        let memory = config.memory();
        let most = (memory.sqlite, memory.queries);
        let kept = crate::views::keep(self.handle.clone(), data, config.views.clone(), most);
        let kept = kept.map_err(|error| StartError::File(data.into(), error))?;
        if let Some((views, keeping)) = kept {
            let telling =
                super::holding::tell(self.handle.clone(), config.views.clone(), views.board());
            tokio::spawn(telling);
            (self.handle.views, self.views) = (Some(views), Some(keeping));
        }
        Ok(())
    }

    /// Serves the API until the node has stopped: when it is told to, or when all is synced.
    ///
    /// # Errors
    /// The socket can't be served.
    pub async fn serve(
        mut self,
        config: &Config,
        data: &Path,
        until: Until,
        told: impl Future<Output = ()>,
    ) -> Result<Stopped, crate::api::ListenError> {
        let mode = match config.api.socket_for {
            SocketFor::Owner => 0o600,
            SocketFor::Group => 0o660,
            SocketFor::All => 0o666,
        };
        let listener = Listener::unix_for(&config.socket(data), mode).await?;
        let (stop, stopping) = watch::channel(false);
        let places = config.api.connections_max.min(config.memory().programs);
        let places = Arc::new(Semaphore::new(places as usize));
        let record_max = landfall_core::limits::RECORD_BYTES_MAX;
        let applications = Arc::new(applications(config));
        let api = tokio::spawn(serve(
            listener,
            (Access::Everyone, applications.clone()),
            self.handle.clone(),
            record_max,
            places.clone(),
            stopping.clone(),
        ));
        if let Some(address) = config.api.tcp {
            let access = Access::by_token_file(&config.api_token_file(data));
            match access {
                Ok(access) => {
                    let listener = Listener::tcp(address).await?;
                    tokio::spawn(serve(
                        listener,
                        (access, applications),
                        self.handle.clone(),
                        record_max,
                        places,
                        stopping,
                    ));
                }
                Err(error) => tracing::error!(%error, "the API is not served over TCP"),
            }
        }
        let done = reached(until, self.synced.clone());
        let watched = async {
            match &self.manager {
                Some(manager) => manager.watch(&self.handle).await,
                None => std::future::pending().await,
            }
        };
        let mut ended = None;
        tokio::select! {
            () = told => {}
            () = done => {}
            () = watched => {}
            stopped = &mut self.stopped => ended = Some(stopped.ok().flatten()),
        }
        self.manager.iter().for_each(ServiceManager::stopping);
        stop.send_replace(true);
        #[cfg(feature = "views")]
        if let Some(views) = self.views.take() {
            views.stop().await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), api).await;
        match ended {
            Some(stopped) => Ok(stopped.unwrap_or(Stopped { clean: false })),
            None => Ok(self.stop().await),
        }
    }

    /// Stops the node and waits until its journal is closed.
    pub async fn stop(self) -> Stopped {
        #[cfg(feature = "views")]
        if let Some(views) = self.views {
            views.stop().await;
        }
        self.handle.stop().await;
        let stopped = self.stopped.await.ok().flatten();
        stopped.unwrap_or(Stopped { clean: false })
    }
}

/// Resolves when what is waited for has come.
async fn reached(until: Until, mut synced: watch::Receiver<bool>) {
    match until {
        Until::Told => std::future::pending().await,
        // An error means that the node has stopped.
        Until::Synced => drop(synced.wait_for(|synced| *synced).await),
    }
}

/// Who of the programs on this machine is which application, and may write what. Whose token can't
/// be had is nobody.
fn applications(config: &Config) -> Applications {
    let mut applications = Applications::default();
    for application in &config.applications {
        if let Some(user) = application.user {
            applications.add_user(user, &application.name);
        }
        match application.token_file.as_deref().map(Access::by_token_file) {
            Some(Ok(Access::Bearer(token))) => applications.add_token(token, &application.name),
            Some(Err(error)) => {
                tracing::error!(application = application.name, %error, "it has no token");
            }
            Some(Ok(Access::Everyone)) | None => {}
        }
    }
    for topic in config.topics.iter().filter(|topic| !topic.writers.is_empty()) {
        applications.set_writers(&topic.name, &topic.writers);
    }
    #[cfg(feature = "views")]
    for view in &config.views {
        view.derives().iter().for_each(|topic| applications.set_derived(topic, &view.name));
    }
    applications
}

async fn forward(
    mut events: mpsc::Receiver<crate::transport::TransportEvent>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(event) = events.recv().await {
        if inputs.send(Input::Transport(event)).await.is_err() {
            return;
        }
    }
}

/// Silence after which a listener may cut off a node that dials with its usual settings.
const IDLE_TIMEOUT_USUAL: Duration = Duration::from_secs(40);

fn warn_of_timeouts(config: &Config) {
    if config.node.listen.is_some() && config.hub.idle_timeout < IDLE_TIMEOUT_USUAL {
        tracing::warn!(
            "hub.idle_timeout is below 40 s: nodes that dial are cut off when they are idle, \
             unless they have the same setting"
        );
    }
}

fn transport_settings(config: &Config) -> Settings {
    let base = match config.node.profile {
        Profile::Device => Settings::device(),
        Profile::Hub => Settings::hub(),
    };
    let memory = config.memory();
    let window = u32::try_from(memory.window).unwrap_or(u32::MAX);
    let priorities: Vec<_> = config.lanes.iter().map(|lane| i32::from(lane.priority)).collect();
    Settings {
        connections_max: config.hub.connections_max.min(memory.peers) as usize,
        stream_window: base.stream_window.min(window),
        send_window: base.send_window.min(window),
        queue_max: base.queue_max.min(window as usize),
        handshakes_max: config.hub.handshakes_max as usize,
        // One source must not lock all others out.
        handshakes_per_source_max: (config.hub.handshakes_max as usize).div_ceil(2),
        handshake_timeout: config.hub.handshake_timeout,
        tcp_after: config.upstream.tcp_fallback_delay,
        initial_rtt: Some(config.upstream.initial_rtt),
        idle_timeout: config.hub.idle_timeout,
        // Two of three may be lost on the way.
        keep_alive: base.keep_alive.min(config.hub.idle_timeout / 3),
        priorities: Settings::control_then(&priorities),
        datagram_search: config.upstream.visit_every.is_none(),
        ..base
    }
}

fn advertised(config: &Config, listening: Option<SocketAddr>) -> Vec<String> {
    if !config.node.advertise.is_empty() {
        return config.node.advertise.iter().map(ToString::to_string).collect();
    }
    // Nobody reaches a node at "any address", nor at a port that is still to be chosen.
    let reached = |address: &&SocketAddr| !address.ip().is_unspecified() && address.port() != 0;
    // Without its network the node can still say where it will listen.
    let told = listening.or(config.node.listen);
    told.iter().filter(reached).map(ToString::to_string).collect()
}

fn upstream(config: &Config, opened: &Opened) -> Upstream {
    let keys = config.upstream.keys.iter().filter_map(|key| key.parse::<PublicKey>().ok());
    let learned = opened.token.iter().flat_map(|token| token.hub_keys.iter().copied());
    let mut keys: Vec<_> = keys.chain(learned).collect();
    keys.dedup();
    let nodes = config.upstream.addresses.iter().map(ToString::to_string);
    // One of the two is empty.
    let addresses = nodes.chain(config.kafka.brokers.iter().cloned()).collect();
    Upstream { addresses, keys }
}

fn reset_key(data: &Path) -> Result<ResetKey, StartError> {
    let path = data.join(RESET_FILE);
    let stored = std::fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok());
    if let Some(key) = stored {
        return Ok(ResetKey(key));
    }
    let mut key = [0; 32];
    entropy::fill(&mut key).map_err(StartError::Entropy)?;
    write_whole(&path, &key, 0o600).map_err(|error| StartError::File(path, error))?;
    Ok(ResetKey(key))
}
