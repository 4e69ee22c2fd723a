"""A strategy without anything of ours but the wire format: a ZeroMQ SUB socket and 32 bytes of header.

python -m feedhandler.examples.plain_zeromq ipc:///run/user/1000/feedhandler/linear.pub linear.orderbook.50.BTCUSDT
"""

import argparse
import struct
import time

import zmq

HEADER = struct.Struct("<BBBBIQqq")  # version, kind, flags, line, epoch, sequence, received_ns, published_ns
KINDS = ("", "snapshot", "delta", "update", "status")
SNAPSHOT, DELTA, UPDATE, STATUS = 1, 2, 3, 4
IMAGE, REPEATED = 1, 2


def follow(socket: "zmq.Socket[bytes]", subject: bytes, end_s: float) -> None:
    """Print one subject's records, in step: never a delta that does not continue what was printed before."""
    last_epoch = last = 0
    in_step = False
    socket.subscribe(subject + b"\0")  # the zero byte ends the subject: this one and no longer one
    while time.monotonic() < end_s:
        if not socket.poll(100):
            continue
        _, _, message = socket.recv().partition(b"\0")
        _, kind, flags, _, epoch, sequence, _, _ = HEADER.unpack_from(message)
        payload = message[HEADER.size :]
        if epoch < last_epoch:
            continue  # of an assignment that is over
        if epoch > last_epoch:
            last_epoch, last, in_step = epoch, 0, False
        # What is composed for newcomers or sent again carries the last number; anything else takes the next one.
        lost = sequence - last - (0 if flags & (IMAGE | REPEATED) else 1) if last else 0
        if lost > 0:
            print(f"lost {lost} records", flush=True)
            in_step = False
            if kind != SNAPSHOT:  # subscribed again, it answers with status and image
                socket.unsubscribe(subject + b"\0")
                socket.subscribe(subject + b"\0")
        last = max(last, sequence)
        if kind == STATUS:
            print(f"status {epoch} {sequence} {payload.decode()}", flush=True)
        elif (
            (kind == SNAPSHOT and not (flags & IMAGE and in_step))  # in step, an image is for somebody else
            or (kind == DELTA and in_step)  # else it continues nothing
            or (kind == UPDATE and not flags & REPEATED)
        ):
            in_step = True
            print(f"{KINDS[kind]} {epoch} {sequence} {len(payload)} bytes", flush=True)


def main() -> None:
    """Follow until the time is over, or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="the worker's, as feedhandler status shows it")
    parser.add_argument("subject", help="such as linear.orderbook.50.BTCUSDT")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long; default: until Ctrl-C")
    options = parser.parse_args()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.sndhwm = 0  # or subscriptions beyond 1,000 vanish silently
        socket.connect(options.address)
        follow(socket, options.subject.encode(), time.monotonic() + options.seconds)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(0) from None
