//! The play with a Kafka behind the hub: a ship comes back, the hub is killed, and an ordinary
//! consumer finds each record once.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::play::{TOPIC, append_offline, is_synced};
use super::sample::{ATTRIBUTION, Sample};
use super::stage::Stage;
use super::{Plan, Voice};
use crate::api::Status;
use crate::entropy;
use crate::quantity::{ByteSize, count_text};

/// How long a broker may take to say something.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Plays all acts. The error says what did not happen as it should.
pub(super) async fn play(
    mut stage: Stage,
    plan: &Plan,
    broker: &str,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    let sample = Sample::unpack();
    let number = entropy::number().map_err(|error| error.to_string())?;
    let group = format!("landfall-demo-{:06x}", number & 0xFF_FFFF);
    let topic = format!("{group}.{TOPIC}");
    voice.plain("Landfall: a ship goes offline and comes back, into Apache Kafka.\n");
    voice.plain(ATTRIBUTION);
    voice.plain("");
    open(&mut stage, broker, &group, voice).await?;
    append_offline(&stage, &stage.ship, sample.lines(0..sample.count())).await?;
    voice.say(&format!(
        "At sea, without a link, the ship records {} positions, {} of JSON. Each is on its disk\n\
         before it is acknowledged.",
        count_text(sample.count() as u64),
        ByteSize(sample.bytes())
    ));
    catch_up(&mut stage, plan, &sample, voice).await?;
    let (from, wanted) = (broker.to_owned(), topic.clone());
    let found = tokio::task::spawn_blocking(move || consume(&from, &wanted)).await;
    let found = found.map_err(|error| error.to_string())??;
    compare(&found, &sample)?;
    voice.say(&format!(
        "An ordinary consumer reads the topic: {} records, each once, as they were written.",
        count_text(sample.count() as u64)
    ));
    tokio::try_join!(stage.ship.stop(), stage.hub.stop())?;
    voice.plain("");
    voice.plain("See for yourself, with any client of Kafka's:");
    voice.plain(&format!(
        "  kafka-console-consumer.sh --bootstrap-server {broker} --topic {topic} \\\n    \
         --from-beginning --isolation-level read_committed"
    ));
    voice.plain(&format!("Topics that this made, to be deleted when you have seen: {group}.*"));
    Ok(())
}

async fn open(
    stage: &mut Stage,
    broker: &str,
    group: &str,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    let listen = stage.hub_address.to_string();
    let advertise = stage.relay.address().to_string();
    let words = ["init", "--site", "hub", "--listen", &listen, "--advertise", &advertise];
    stage.hub.command(&words).await?;
    let path = stage.hub.data.join(crate::config::FILE_NAME);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let told = std::fs::read_to_string(&path).map_err(failed)?;
    let kafka = format!(
        "\n[kafka]\nbrokers = [{broker:?}]\ngroup = \"{group}\"\ntopic = \"{group}.{{topic}}\"\n\
         frontier_topic = \"{group}.frontiers\"\ndead_letter_topic = \"{group}.dead-letters\"\n\
         registry_topic = \"{group}.registry\"\n"
    );
    std::fs::write(&path, told + &kafka).map_err(failed)?;
    stage.hub.start().await?;
    voice.say(&format!("A hub runs on shore, in front of Kafka at {broker}."));
    stage.hub.until("reaches Kafka", is_synced).await?;
    let token = stage.hub.command(&["token", "ship-17"]).await?;
    let path = stage.folder.join("token");
    std::fs::write(&path, token).map_err(|error| format!("{}: {error}", path.display()))?;
    stage.ship.command(&["init", "--join", &format!("@{}", path.display())]).await?;
    voice.add(&format!("Hub and ship are in {}", stage.folder.display()));
    Ok(())
}

async fn catch_up(
    stage: &mut Stage,
    plan: &Plan,
    sample: &Sample,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    stage.relay.set_up(true);
    stage.ship.start().await?;
    voice.say(&format!(
        "The link comes up: {} kbit/s, {} ms there and back. The ship catches up.",
        plan.rate.0.get() / 1_000,
        plan.round_trip.as_millis()
    ));
    let total = sample.count() as u64;
    let mut show = |status: &Status| {
        let done = committed(status);
        voice.draw(done, total, &format!("{} committed in Kafka", count_text(done)));
        done
    };
    stage.ship.until("has half of its records there", |status| show(status) > total / 2).await?;
    stage.hub.kill();
    let told = committed(&stage.ship.until("answers", |_| true).await?);
    voice.say(&format!(
        "The hub is killed (SIGKILL), in the middle of whatever it did. By now the ship was told\n\
         that {} records are committed in Kafka.",
        count_text(told)
    ));
    stage.hub.start().await?;
    let mut show = |status: &Status| {
        let done = committed(status);
        voice.draw(done, total, &format!("{} committed in Kafka", count_text(done)));
        done
    };
    let done = |status: &Status| show(status) >= total && is_synced(status);
    stage.ship.until("has caught up", done).await?;
    voice.say(&format!(
        "The hub runs again, and has read from Kafka how far the ship is. All {} records are\n\
         committed.",
        count_text(total)
    ));
    Ok(())
}

/// Records of the ship of which it was told that they are in Kafka.
fn committed(status: &Status) -> u64 {
    let lanes = status.lanes.iter();
    lanes.map(|lane| lane.next_seq.saturating_sub(lane.behind_records)).sum()
}

/// The values of all committed records, and how often each is there.
fn consume(broker: &str, topic: &str) -> Result<BTreeMap<Vec<u8>, u64>, String> {
    let failed = |error: KafkaError| format!("{topic} can't be read: {error}");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", topic)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .map_err(failed)?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_MAX).map_err(failed)?;
    let partitions = metadata.topics().first().map_or(0, |told| told.partitions().len());
    let mut places = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        places.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
    }
    consumer.assign(&places).map_err(failed)?;
    let (mut found, mut ended) = (BTreeMap::new(), 0);
    while ended < partitions {
        match consumer.poll(ANSWER_MAX) {
            None => return Err(format!("{topic} can't be read: the broker says nothing")),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(message)) => {
                *found.entry(message.payload().unwrap_or_default().to_vec()).or_default() += 1;
            }
        }
    }
    Ok(found)
}

/// Each line of the sample must be there as often as it is in the sample, and nothing else.
fn compare(found: &BTreeMap<Vec<u8>, u64>, sample: &Sample) -> Result<(), String> {
    let mut wanted: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for line in sample.lines(0..sample.count()).lines() {
        *wanted.entry(line.as_bytes().to_vec()).or_default() += 1;
    }
    if *found == wanted {
        return Ok(());
    }
    let count = |lines: &BTreeMap<Vec<u8>, u64>| lines.values().sum::<u64>();
    Err(format!("Kafka has {} records, and not those {} of the ship", count(found), count(&wanted)))
}
