"""Prints what is committed in a topic of Kafka, one JSON object a record, by confluent-kafka.

usage: reader.py BROKERS TOPIC

Keys, values and headers are bytes in Kafka, so they are printed in base64; null where there is
none. What the hub says of a record's birth is printed as text.
"""

import base64
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

#: How long a broker may take to say something, in seconds.
PATIENCE = 30.0


def text(given):
    """Bytes as they are printed; nothing stays nothing."""
    return None if given is None else base64.b64encode(given).decode()


def records(brokers, topic):
    """Every committed record of a topic, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # Java's clients must be told; this one would do so anyway.
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
    for partition in sorted(partitions):
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        while True:
            record = consumer.poll(PATIENCE)
            if record is None:
                raise TimeoutError(f"nothing came of {topic} for {PATIENCE:g} s")
            if record.error() is None:
                yield record
            elif record.error().code() == KafkaError._PARTITION_EOF:
                break
            else:
                raise RuntimeError(record.error())
    consumer.close()


def main(brokers, topic):
    """Prints them."""
    for record in records(brokers, topic):
        headers = record.headers() or []
        # An application may have written headers of these names; the last of each is the hub's.
        births = {name: value for name, value in headers if name.startswith("landfall.")}
        own = [header for header in headers if not header[0].startswith("landfall.")]
        told = {
            "partition": record.partition(),
            "timestamp": record.timestamp()[1],
            "key": text(record.key()),
            "value": text(record.value()),
            "headers": [[name, text(value)] for name, value in own],
            "birth": {name: value.decode() for name, value in births.items()},
        }
        print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
