//! The hub's end of the line to Kafka: the bridge stands where an upstream node would.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::input::Input;
use super::machine::{Machine, now};
use super::open::{Layout, Opened, StartError, lanes_made};
use crate::config::Config;
use crate::kafka::{self, Line, Said};
use crate::media::DirLock;
use crate::node::{Direction, LinkId, PeerKey, Transmit, Uplink};

/// How long a transaction at hand is waited for when the node stops.
const STOP_MAX: Duration = Duration::from_secs(2);

/// The hub's end of the line.
pub(super) struct KafkaEnd {
    line: Arc<Line>,
    /// The dial that waits for its answer.
    dialed: Option<u64>,
    link: Option<LinkId>,
    /// Disconnected when the bridge has ended.
    ended: Receiver<()>,
}

impl KafkaEnd {
    /// Starts the bridge, if there is a Kafka behind this node.
    pub(super) fn start(
        config: &Config,
        opened: &Opened,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Option<Self>, StartError> {
        let node = opened.node.settings();
        let key = opened.key.public().to_string();
        let settings = kafka::Settings::of(config, &node.site, &key, &node.lanes);
        let settings =
            settings.map_err(|kafka::NoPassword(path, error)| StartError::File(path, error))?;
        let Some(settings) = settings else { return Ok(None) };
        let tell = move |said| inputs.blocking_send(Input::Kafka(said)).is_ok();
        let line = Arc::new(Line::new(tell));
        let heard = opened.node.journal().heard();
        let promised = |log| heard.of(log).map(|heard| heard.commit);
        let ended = kafka::start(settings, &opened.data, line.clone(), promised)
            .map_err(|error| StartError::File(opened.data.clone(), error))?;
        Ok(Some(Self { line, dialed: None, link: None, ended }))
    }
}

/// What the bridge of a hub that does not run would be told, and the lock that keeps it from
/// running meanwhile; none if there is no Kafka behind it.
///
/// # Errors
/// See [`StartError`]; above all, when the hub runs.
pub fn kafka_behind(
    data: &Path,
    config: &Config,
) -> Result<Option<(DirLock, kafka::Settings)>, StartError> {
    let lanes = lanes_made(data, config)?.ok_or_else(|| StartError::NoNode(data.into()))?;
    let node = Layout::of(data, config, &lanes)?.settings;
    let lock = DirLock::take(data).map_err(StartError::Media)?;
    let settings = kafka::Settings::of(config, &node.site, &node.site, &node.lanes);
    let settings =
        settings.map_err(|kafka::NoPassword(path, error)| StartError::File(path, error))?;
    Ok(settings.map(|settings| (lock, settings)))
}

impl Machine {
    /// Dials Kafka, if it stands where the upstream node would.
    pub(super) fn dials_kafka(&mut self) -> bool {
        let Some(kafka) = &mut self.kafka else { return false };
        match kafka.line.dial() {
            Ok(dial) => kafka.dialed = Some(dial),
            Err(why) => self.node.handle_dial_failed(Uplink::FIRST, &why, now()),
        }
        true
    }

    /// Sends what is for Kafka.
    pub(super) fn sends_to_kafka(&self, transmit: &mut Transmit) -> bool {
        let Some(kafka) = self.kafka.as_ref().filter(|kafka| kafka.link == Some(transmit.link))
        else {
            return false;
        };
        kafka.line.send(transmit.channel, Bytes::from(std::mem::take(&mut transmit.bytes)));
        true
    }

    /// Hangs up, if the link is the one to Kafka.
    pub(super) fn closes_kafka(&mut self, link: LinkId, why: &str) {
        let Some(kafka) = self.kafka.as_mut().filter(|kafka| kafka.link == Some(link)) else {
            return;
        };
        kafka.link = None;
        kafka.line.close();
        self.node.handle_disconnected(link, why, now());
    }

    pub(super) fn on_kafka(&mut self, said: Said) {
        let Some(kafka) = &mut self.kafka else { return };
        match (said, kafka.link) {
            (Said::Ready(shards), _) => {
                self.node.hurry(now());
                self.own(shards);
            }
            (Said::Opened, _) => {
                let id = LinkId(self.next_link);
                self.next_link += 1;
                (kafka.dialed, kafka.link) = (None, Some(id));
                self.node.handle_connected(id, Direction::Up, PeerKey([0; 32]), now());
            }
            (Said::Received(channel, bytes), Some(id)) => {
                self.node.handle_received(id, channel, &bytes, now());
            }
            (Said::Sent(channel, bytes), Some(id)) => self.node.handle_sent(id, channel, bytes),
            // It left before it saw the dial, or the next one is on its way already.
            (Said::Away(dials, why), None) => {
                if kafka.dialed.take_if(|dial| *dial <= dials).is_some() {
                    self.node.handle_dial_failed(Uplink::FIRST, &why, now());
                }
            }
            (Said::Closed(why) | Said::Away(_, why), Some(id)) => {
                kafka.link = None;
                self.node.handle_disconnected(id, &why, now());
            }
            // Of a connection that the node has given up.
            (Said::Received(..) | Said::Sent(..) | Said::Closed(_), None) => {}
        }
    }

    /// Lets the bridge end behind the transaction at hand: if that stayed open, readers in Kafka
    /// would wait for it.
    pub(super) fn stop_kafka(&mut self) {
        if let Some(kafka) = self.kafka.take() {
            kafka.line.stop();
            // What takes longer is left to whoever owns the shard next.
            let _ = kafka.ended.recv_timeout(STOP_MAX);
        }
    }
}
