"""A ship's logbook: writes and reads as if the centre were next door, with a link or without.

    python3 logbook.py DIR write ID TEXT    writes an entry, or a new text for it
    python3 logbook.py DIR strike ID        takes an entry out
    python3 logbook.py DIR show             shows all entries, and whether the hub has them
"""

import sys

import landfall


def written(node: landfall.Client, receipt: landfall.Receipt) -> None:
    """Whoever writes sees it at once."""
    (count,) = node.query("SELECT count(*) FROM logbook", min_position=receipt).rows[0]
    print(f"written; the logbook has {count!s}")


def show(node: landfall.Client) -> None:
    rows = node.query("SELECT ship, id, text FROM logbook ORDER BY at, ship, id")
    for ship, number, text in rows.rows:
        print(f"{ship!s} {number!s}: {text!s}")
    status = node.status()
    behind = sum(lane.behind_records for lane in status.lanes)
    link = "this is the hub" if status.link is None else f"{behind} not yet at the hub"
    print(f"-- {len(rows.rows)} entries, {link}")


def main() -> None:
    data, what, *words = sys.argv[1:]
    node = landfall.Client(data)
    node.wait_until_up()
    if what == "write":
        number, text = words
        written(node, node.append("logbook", {"text": text}, key=number))
    elif what == "strike":
        written(node, node.delete("logbook", words[0]))
    else:
        show(node)


if __name__ == "__main__":
    main()
