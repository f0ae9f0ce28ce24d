//! Valid inputs of each target, to begin with: what the program itself would write or take.

use landfall_core::batch::batches;
use landfall_core::codec::Writer;
use landfall_core::entry::ENTRY_HEADER_BYTES;
use landfall_core::limits::COUNTER_MAX;
use landfall_core::num::{ProducerId, Timestamp};
use landfall_core::record::{Header, Headers, Producer, Record};

use super::image::{ENTRIES_AT, SHAPE, header, journals};
use super::messages;
use super::session::framed;
use landfall_simulation::journal::CHECKSUM;

pub(super) fn record() -> Vec<Vec<u8>> {
    let headers = [
        Header { name: "trace", value: Some(b"1") },
        Header { name: "", value: None },
        Header { name: "trace", value: Some(b"") },
    ];
    let plain = Record::new(Timestamp::new(1_700_000_000_000), Some(b"key"), Some(b"{}"));
    let producer = Some(Producer { id: ProducerId::new(7), sequence: COUNTER_MAX });
    let full = Record { headers: Headers::List(&headers), producer, ..plain };
    let records = [plain, full, Record::new(Timestamp::new(i64::MIN), None, None)];
    let encoded = records.map(|record| {
        let mut bytes = vec![0; record.encoded_len()];
        record.encode(&mut Writer::new(&mut bytes)).expect("it has the room that it takes");
        bytes
    });
    let all = encoded.concat();
    encoded.into_iter().chain([all]).collect()
}

/// The bodies of some entries of a journal, with either checksum.
pub(super) fn batch() -> Vec<Vec<u8>> {
    let bodies = entries().into_iter().map(|entry| entry.body);
    let bodies = bodies.filter(|body| batches(body, CHECKSUM).all(|batch| batch.is_ok()));
    let bodies: Vec<_> = bodies.filter(|body| body.len() > 100).take(6).collect();
    let mut seeds: Vec<_> = bodies.iter().map(|body| [&[0], &body[..]].concat()).collect();
    for body in &bodies {
        // With the other checksum each head ends with zeros.
        let mut body = body.clone();
        let len = usize::from(u16::from_le_bytes([body[0], body[1]]));
        body[len - 4..len].fill(0);
        seeds.push([&[1], &body[..]].concat());
    }
    seeds
}

pub(super) fn entry() -> Vec<Vec<u8>> {
    let mut seeds = vec![b"\x01\x05hub-1\xC8\x01\x07gateway\x02".to_vec()];
    for entry in entries() {
        seeds.push([&[0], &entry.header[..]].concat());
        seeds.push([&[3], &entry.body[..]].concat());
        if let Some(trailer) = entry.trailer {
            seeds.push([&[2], &trailer[..]].concat());
        }
    }
    seeds.push([&[5], &header(9)[..]].concat());
    let branch =
        b"\x04\x06ship-1\x03ais\x00\x01\0\0\0\0\0\0\0\x01\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0";
    seeds.push(branch.to_vec());
    let mut kept = Vec::new();
    for seed in seeds {
        // One of each length is enough.
        if kept.iter().all(|other: &Vec<u8>| (other[0], other.len()) != (seed[0], seed.len())) {
            kept.push(seed);
        }
    }
    kept.truncate(40);
    kept
}

pub(super) fn segment() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![1], vec![0, 1, 2, 3]];
    for slot in 2..SHAPE.slots as usize {
        for journal in journals() {
            let slot = journal.clone().slot_mut(slot).to_vec();
            let end = slot.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if end > ENTRIES_AT {
                let entries = &slot[ENTRIES_AT..end.min(2048)];
                seeds.push([&[1], entries].concat());
                seeds.push([&[3], entries].concat());
            }
        }
    }
    seeds
}

/// Each base as it is, and with fields of its headers at the ends of their ranges.
pub(super) fn opening() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..4).map(|base| vec![base | 0x40]).collect();
    let change = |slot: usize, at: usize, what: u8, bytes: &[u8]| {
        let [low, high, ..] = at.to_le_bytes();
        [&[0x82 | (slot as u8 & 1), slot as u8, low, high, what][..], bytes].concat()
    };
    let most = COUNTER_MAX.to_le_bytes();
    for slot in 0..SHAPE.slots as usize {
        for field in [8, 11, 12, 16, 24, 32, 40, 48] {
            let both = [change(slot, field, 7, &most), change(slot, 64 + field, 7, &most)];
            seeds.push([&both[0][..], &both[1][1..]].concat());
        }
        for field in [2, 8, 16, 24, 32, 36] {
            seeds.push(change(slot, ENTRIES_AT + field, 7, &most));
            seeds.push(change(slot, ENTRIES_AT + field, 7, &[0xFF; 8]));
        }
        seeds.push(change(slot, ENTRIES_AT, 0x5F, &[0]));
        seeds.push(change(slot, 0, 0xFF, &[(slot as u8 + 1) % 8, 0, 0]));
        seeds.push(change(slot, ENTRIES_AT + 200, 0x80, &[1]));
    }
    seeds
}

pub(super) fn control_message() -> Vec<Vec<u8>> {
    messages::control()
}

pub(super) fn lane_message() -> Vec<Vec<u8>> {
    messages::lane()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let stream: Vec<u8> = messages::control().iter().flat_map(|frame| framed(frame)).collect();
    let mut chunks = Vec::new();
    for (channel, bytes) in (0..8).zip(stream.chunks(100)) {
        chunks.extend([channel, bytes.len() as u8, 0]);
        chunks.extend(bytes);
    }
    vec![
        [&[0, 8, 6], &stream[..]].concat(),
        [&[0xFD, 3, 0], &stream[..]].concat(),
        [&[16, 0, 2], &stream[..]].concat(),
        [&[0xFF, 0xFF, 40], &chunks[..]].concat(),
    ]
}

pub(super) fn body() -> Vec<Vec<u8>> {
    let mut packer = landfall::node::codec::Codec::default();
    let bodies = entries().into_iter().map(|entry| entry.body).filter(|body| body.len() > 100);
    let long = [vec![7; 100_000], vec![0; 256 * 1024]];
    let mut seeds = Vec::new();
    for body in bodies.take(4).chain(long) {
        for features in
            [landfall::node::codec::FEATURES, landfall_protocol::message::Features::NONE]
        {
            let (codec, packed) = packer.pack(&body, features);
            let [a, b, c, ..] = body.len().to_le_bytes();
            if packed.len() < 4096 {
                seeds.push([&[codec, a, b, c], packed].concat());
            }
        }
    }
    seeds
}

pub(super) fn session() -> Vec<Vec<u8>> {
    const LISTENER: u8 = 0x80;
    let open = [2, 2, LISTENER | 6, 2, 2];
    let hello = messages::control().swap_remove(0);
    let with = |steps: &[u8]| [&open, steps].concat();
    vec![
        open.to_vec(),
        with(&[9, 0, 0, 8, 9, 1, 9, 0, 2, LISTENER | 11, 0xFF, 0xFF, 2, 10, 0, 0xFF, 0xFF]),
        with(&[8, 1, 2, 0, 30, 4, LISTENER | 8, 0, 1, 0, 3, 2, 2, 7, 2]),
        with(&[13, 9, 0, 2, 2, 12, 0x10, 0x27, 2, 12, 0xFF, 0xFF, 12, 0xFF, 0xFF]),
        with(&[14, 2, LISTENER | 14]),
        with(&[LISTENER | 15, 0, 9, 0, 100, 0, 2, 2]),
        with(&[LISTENER | 5, 1, 0, 0, 16, 2, 1, 3, 0, 17, 0, 3, 0, 0xFF, 2]),
        [&[LISTENER | 4, 0, hello.len() as u8], &hello[..], &[2, LISTENER | 6, 2]].concat(),
        vec![12, 0xFF, 0xFF, 2, 0, 0, 1, 0, 1, 3, 0, 16, 0, 2, 0],
    ]
}

pub(super) fn config() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "site = \"ship-17\"\nprofile = \"device\"\n[upstream]\nurls = [\"hub.example.org:4520\"]\n",
        "site = \"hub\"\nlisten = \"[::]:4520\"\n[storage]\nsegment_bytes = \"16MiB\"\n",
        "[[lane]]\nname = \"urgent\"\npriority = 200\nbudget = \"64MiB\"\n\
         [[lane]]\nname = \"normal\"\n",
        "[[topic]]\nname = \"ais\"\nlane = \"urgent\"\npartitions = 4\n",
        "[api]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n[hub]\n",
        "\0LANDFALL_SITE=ship-17\nLANDFALL_TOPIC=[{name = \"ais\", lane = \"normal\"}]\n",
        "site = 1979-05-27T07:32:00Z # a comment\n\0LANDFALL_LOG_LEVEL=nothing",
        "a = [[[[{b.c.d = '''x'''}]]]]\n\"\\u00e9\" = 1e400\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(super) fn token() -> Vec<Vec<u8>> {
    let text = |bytes: &[u8]| bytes.to_vec();
    let mut fields = vec![1];
    fields.extend([9; 8 + 16 + 8]);
    fields.push(1);
    fields.extend([3; 32]);
    fields.extend(b"\x02\x0Fhub.example.org\x0810.0.0.1\x06ship-*");
    let sum = <sha2::Sha256 as sha2::Digest>::digest(&fields);
    let printed = format!("\0lf1_{}", super::settings::base32(fields.iter().chain(&sum[..4])));
    vec![[&[1], &fields[..]].concat(), text(printed.as_bytes()), text(b"\0 lf1_aaaa\n")]
}

pub(super) fn registry() -> Vec<Vec<u8>> {
    let key = landfall::identity::NodeKey::from_seed([5; 32]).public();
    let hash = super::settings::base32(&[1; 32]);
    let rights = r#""rights":{"write":["*"],"carry":["ship-*"],"subscribe":[]}"#;
    let site = format!(r#"ship-17 {{"key":"{key}",{rights},"state":"active","enrolled_at":5}}"#);
    let id = super::settings::base32(&[1; 8]);
    let uses = r#""site_pattern":"ship-*","expires":9,"uses":0"#;
    let token = format!(r#"{id} {{"id":"{id}","secret_hash":"{hash}",{uses},{rights}}}"#);
    let other = site.replace("ship-17", "ship-18").replace("active", "revoked");
    [site.clone(), token, format!("{site}\n{other}\nship-17")].map(String::into_bytes).to_vec()
}

pub(super) fn text() -> Vec<Vec<u8>> {
    let key = landfall::identity::NodeKey::from_seed([5; 32]).public().to_string();
    let texts = [
        (0, "ship-17/ais/0@4711~1f00ba5e"),
        (1, "ship-17/ais/4294967295"),
        (2, "earliest"),
        (2, "@12"),
        (2, "ship-17/ais/0@4711"),
        (2, "2022-01-03T00:00:00.123+02:00"),
        (3, "ffffffffffffffff-ab-12-3"),
        (4, "ship-*"),
        (5, "*"),
        (6, &key),
        (7, "2022-01-03"),
        (7, "1969-12-31 23:59:59.999Z"),
        (8, "1.5GiB"),
        (8, "24h"),
        (8, "250ms"),
        (9, "[2001:db8::1]:4520"),
        (9, "hub.example.org:4520"),
        (10, "shp-17"),
    ];
    texts.map(|(kind, text)| [&[kind], text.as_bytes()].concat()).to_vec()
}

pub(super) fn lines() -> Vec<Vec<u8>> {
    let texts = [
        "\x03\x05{\"k\":\"227006760\",\"t\":\"2022-01-03T00:00:00Z\"}\r\n\n\
         {\"k\":7,\"t\":1641168000}\n",
        "\x00\u{FF}[1,2.5e3,\"\\u00e9\"]\n  null  \ntrue",
        "\x01\x01{\"a\":{\"b\":[{}]},\"k\":\"x\",\"k\":\"y\"}\n{\"\\u006b\":true}\nnot json\n",
        "\x02\x40{\"t\":-5.5}\n{\"t\":\"yesterday\"}\n{\"t\":1e300}\n{\"t\":null}\n[]\n",
    ];
    // Each character below 256 is the byte of that number.
    texts.map(|text| text.chars().map(|c| c as u8).collect()).to_vec()
}

pub(super) fn http() -> Vec<Vec<u8>> {
    let head = |first: &str, rest: &str| format!("{first} HTTP/1.1\r\nHost: x\r\n{rest}\r\n");
    let body = "{\"n\":1,\"k\":\"a\"}\n{\"n\":2,\"k\":\"b\"}\n";
    let sized = format!("Content-Length: {}\r\n", body.len());
    let post = "POST /v1/topics/ais/records";
    let token = r#"{"site":"ship-*","uses":2,"valid_for_s":60,"write":["ais"],"carry":[]}"#;
    let long = format!("Content-Length: {}\r\n", token.len());
    let requests = [
        head("GET /v1/status", ""),
        head("GET /v1/sites", "") + &head("POST /v1/sites/ship-17/revoke", ""),
        head("POST /v1/sites/ship-17/split?name=ship-18", ""),
        head("GET /v1/topics/ais/records?from=@3&origin=ship-1&partition=2&max=1", ""),
        head("GET /v1/topics/ais/records?after=1-2-3-0", "Accept: text/event-stream\r\n"),
        head("GET /v1/topics/ais/records?follow=true", "Last-Event-ID: 1-2-3-1\r\n"),
        head(post, &sized) + body,
        head(&format!("{post}?key_field=k&skip_bad&producer=p&first_sequence=9"), &sized) + body,
        head(post, "Transfer-Encoding: chunked\r\n") + "5\r\n{}\n[]\r\n1\r\n\n\r\n0\r\n\r\n",
        head("POST /v1/tokens", &long) + token,
        head("PUT /v1/%74opics/a%20b/records?from=%41+b", "Expect: 100-continue\r\n"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ];
    requests.map(String::into_bytes).to_vec()
}

/// An entry as it stands in a journal.
struct Stored {
    header: Vec<u8>,
    body: Vec<u8>,
    /// What follows the last entry of a commit.
    trailer: Option<Vec<u8>>,
}

/// The entries of the closed journal, slot by slot.
fn entries() -> Vec<Stored> {
    let mut found = Vec::new();
    for (_, slot) in journals()[0].clone().used_mut() {
        let mut at = ENTRIES_AT;
        while at + ENTRY_HEADER_BYTES <= slot.len() {
            let Ok(header) = landfall_core::entry::EntryHeader::decode(&slot[at..]) else {
                at += 8;
                continue;
            };
            let end = at + header.body_end();
            found.push(Stored {
                header: slot[at..at + header.body_at()].to_vec(),
                body: slot[at + header.body_at()..end].to_vec(),
                trailer: header.last.then(|| slot[end..end + 24].to_vec()),
            });
            at += header.stride();
        }
    }
    found
}
