"""Says at once when a vessel exceeds a speed, and writes an alarm that others can follow.

    python3 alarm.py DIR KNOTS [ALARMS]

It goes on where it was when it is started again: how far it is stands in each alarm that it has
written, so that none is missed and none is written twice. It ends after so many ALARMS, if given.
"""

import sys
from typing import Optional, Tuple

import landfall

#: AIS has this for a speed that is not available.
NOT_AVAILABLE = 102.3


def where_it_was(node: landfall.Client) -> Tuple[Optional[str], int]:
    """The cursor behind what the last alarm was about, and how many alarms there are."""
    cursor, count = None, 0
    for alarm in node.read("alarms"):
        found = alarm.header("cursor")
        cursor = found if isinstance(found, str) else cursor
        count += 1
    return cursor, count


def main() -> None:
    node, knots = landfall.Client(sys.argv[1]), float(sys.argv[2])
    left = int(sys.argv[3]) if len(sys.argv) > 3 else None
    node.wait_until_up()
    cursor, count = where_it_was(node)
    with node.follow("ais", after=cursor) as positions:
        for position in positions:
            speed = position.value.get("sog", 0) if isinstance(position.value, dict) else 0
            if not knots < speed < NOT_AVAILABLE:
                continue
            alarm = {"mmsi": position.key, "name": position.value.get("name"), "sog": speed}
            record = landfall.NewRecord(
                alarm,
                key=position.key,
                headers={"cause": str(position.coordinates), "cursor": position.cursor},
            )
            count += 1
            # Whoever was killed here writes the same alarm again under the same number.
            node.append_many("alarms", [record], producer="speed-alarm", first_sequence=count)
            print(f"{alarm['name']} ({position.key!s}): {speed} knots", flush=True)
            if left is not None:
                left -= 1
                if left == 0:
                    return


if __name__ == "__main__":
    main()
