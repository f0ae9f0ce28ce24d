//! A node's numbers for Prometheus, in its text format 0.0.4.

use std::fmt::{Display, Write as _};

use super::status::{LinkState, Status, SubscriptionState, ViewState};

/// The content type of the format.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A name, a help text, and the number of each `T`.
type Family<T> = (&'static str, &'static str, fn(&T) -> u64);

/// All numbers of a status.
pub(super) fn metrics(status: &Status) -> String {
    let mut text = Text::default();
    text.family("landfall_info", "gauge", "The node; always 1.");
    let (site, version) = (status.site.as_str(), status.version.as_str());
    text.sample("landfall_info", &[("site", site), ("version", version)], 1);
    clock(&mut text, status);
    lanes(&mut text, status);
    medium(&mut text, status);
    link(&mut text, status);
    subscriptions(&mut text, status);
    let streams = [
        ("landfall_streams_own", "Streams of this site.", status.streams.own),
        ("landfall_streams_others", "Streams of other sites.", status.streams.others),
        ("landfall_topics", "Topics.", status.streams.topics),
        ("landfall_records", "Records that are here.", status.streams.records),
        ("landfall_forks", "Streams with two continuations.", status.forks.len() as u64),
        ("landfall_gaps", "Ranges that are missing for good.", status.gaps.len() as u64),
        ("landfall_alarms", "What a person should act on.", status.alarms.len() as u64),
    ];
    for (name, help, value) in streams {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
    let name = "landfall_offences_total";
    text.family(name, "counter", "What peers did that they must not, since the start.");
    for (kind, count) in &status.offences {
        text.sample(name, &[("kind", kind)], count);
    }
    views(&mut text, status);
    consumers(&mut text, status);
    text.0
}

fn clock(text: &mut Text, status: &Status) {
    let clock = &status.clock;
    text.family("landfall_clock_set", "gauge", "Whether somebody has set this machine's clock.");
    text.sample("landfall_clock_set", &[], u8::from(clock.set));
    if let Some(behind) = clock.behind_ms {
        let name = "landfall_clock_behind_ms";
        text.family(name, "gauge", "How far it is behind the clock of the node above.");
        text.sample(name, &[], behind);
    }
}

fn lanes(text: &mut Text, status: &Status) {
    let families: [Family<super::LaneStatus>; 7] = [
        ("landfall_lane_next_seq", "Seq of the record to come.", |lane| lane.next_seq),
        ("landfall_lane_durable_seq", "All below is at the next node.", |lane| lane.durable_seq),
        ("landfall_lane_root_seq", "All below is at the root.", |lane| lane.root_seq),
        ("landfall_lane_behind_records", "Not yet at the root.", |lane| lane.behind_records),
        ("landfall_lane_behind_bytes", "Not yet at the root.", |lane| lane.behind_bytes),
        ("landfall_lane_budget_bytes", "Disk that it may take.", |lane| lane.budget_bytes),
        ("landfall_lane_used_bytes", "Disk that it takes.", |lane| lane.used_bytes),
    ];
    let counted: [Family<super::LaneStatus>; 2] = [
        ("landfall_lane_written_bytes_total", "Written to the medium.", |lane| lane.written_bytes),
        ("landfall_lane_payload_bytes_total", "Of that, records.", |lane| lane.payload_bytes),
    ];
    let families = families.map(|family| (family, "gauge")).into_iter();
    for ((name, help, value), kind) in families.chain(counted.map(|family| (family, "counter"))) {
        text.family(name, kind, help);
        for lane in &status.lanes {
            text.sample(name, &[("lane", &lane.name)], value(lane));
        }
    }
}

fn medium(text: &mut Text, status: &Status) {
    let medium = &status.medium;
    for (name, help, value) in [
        ("landfall_log_written_bytes_total", "Written to the log.", medium.written_bytes),
        ("landfall_written_bytes_total", "Written by the process.", medium.process_bytes),
        ("landfall_life_written_bytes_total", "Written in the node's life.", medium.life_bytes),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], value);
    }
    let memory = &status.memory;
    for (name, help, value) in [
        ("landfall_memory_bytes", "Heap and stacks.", memory.used_bytes),
        ("landfall_memory_resident_bytes", "With the program's file.", memory.resident_bytes),
        ("landfall_memory_peak_bytes", "The most that was resident.", memory.peak_bytes),
        ("landfall_memory_cap_bytes", "What it may take.", memory.cap_bytes),
    ] {
        let Some(value) = value else { continue };
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
    if let Some(days) = medium.days_left {
        text.family("landfall_medium_days_left", "gauge", "Until the medium has borne its writes.");
        text.sample("landfall_medium_days_left", &[], days);
    }
}

fn link(text: &mut Text, status: &Status) {
    let Some(link) = &status.link else { return };
    let up = matches!(link.state, LinkState::CatchingUp | LinkState::Synced);
    text.family("landfall_link_up", "gauge", "Whether the upstream node is reached.");
    text.sample("landfall_link_up", &[], u8::from(up));
    text.family("landfall_link_since_ms", "gauge", "Since when the link is as it is.");
    text.sample("landfall_link_since_ms", &[], link.since_ms);
}

fn subscriptions(text: &mut Text, status: &Status) {
    let level = "landfall_subscription_level";
    text.family(level, "gauge", "Whether all of a topic that comes down is here.");
    for of in &status.subscriptions {
        let here = of.state == SubscriptionState::Level;
        text.sample(level, &[("topic", &of.topic)], u8::from(here));
    }
}

fn views(text: &mut Text, status: &Status) {
    let families: [Family<super::ViewStatus>; 7] = [
        ("landfall_view_running", "Whether it follows its topics.", |view| {
            u64::from(view.state == ViewState::Running)
        }),
        ("landfall_view_behind_commits", "Commits not seen.", |view| view.behind_commits),
        ("landfall_view_records", "Records that it took.", |view| view.records),
        ("landfall_view_errors", "Records that it refused.", |view| view.errors),
        ("landfall_view_lacking", "Records forgotten before it came.", |view| view.lacking),
        ("landfall_view_derived", "Records that it derived.", |view| view.derived),
        ("landfall_view_outbox", "Of these, not yet durable.", |view| view.outbox),
    ];
    for (name, help, value) in families {
        text.family(name, "gauge", help);
        for view in &status.views {
            text.sample(name, &[("view", &view.view)], value(view));
        }
    }
}

fn consumers(text: &mut Text, status: &Status) {
    let families: [Family<super::ConsumerStatus>; 4] = [
        ("landfall_consumer_behind_records", "Records not taken in.", |consumer| {
            consumer.behind_records
        }),
        ("landfall_consumer_behind_commits", "Commits not seen.", |consumer| {
            consumer.behind_commits
        }),
        ("landfall_consumer_lacking", "Records forgotten before it came.", |consumer| {
            consumer.lacking
        }),
        ("landfall_consumer_lost", "Whether its place was lost and it must seek.", |consumer| {
            u64::from(consumer.cursor.is_none())
        }),
    ];
    for (name, help, value) in families {
        text.family(name, "gauge", help);
        for consumer in &status.consumers {
            text.sample(name, &[("consumer", &consumer.consumer)], value(consumer));
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{label}=\"{text}\"");
        }
        self.0.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = writeln!(self.0, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_a_sample_is_a_line() {
        let mut text = Text::default();
        text.sample("n", &[("a", "x\"\\\n"), ("b", "")], 7);
        text.sample("m", &[], -1);
        assert_eq!(text.0, "n{a=\"x\\\"\\\\\\n\",b=\"\"} 7\nm -1\n");
    }
}
