// A strategy in JavaScript: a ZeroMQ SUB socket and 32 bytes of header. One subject, in step.
//
//   npm install zeromq@6
//   node plain_zeromq.mjs ipc:///run/user/1000/feedhandler/linear.pub linear.orderbook.50.BTCUSDT [SECONDS]
import { Subscriber } from "zeromq";

const HEADER = 32, SNAPSHOT = 1, DELTA = 2, UPDATE = 3, STATUS = 4, IMAGE = 1, REPEATED = 2;
const KINDS = ["", "snapshot", "delta", "update", "status"];

const [address, subject, seconds] = process.argv.slice(2);
if (!subject) {
  console.error("usage: node plain_zeromq.mjs ADDRESS SUBJECT [SECONDS]");
  process.exit(2);
}
const filter = subject + "\0"; // with the zero byte: this subject and no longer one
const socket = new Subscriber();
socket.setInt32Option(23, 0); // ZMQ_SNDHWM, which this class has no name for: else subscriptions beyond 1,000 vanish
socket.subscribe(filter);
socket.connect(address);
if (seconds) setTimeout(() => process.exit(0), seconds * 1000);

let lastEpoch = 0, last = 0n, inStep = false;
for await (const [message] of socket) {
  const header = message.subarray(message.indexOf(0) + 1);
  const kind = header[1], flags = header[2], epoch = header.readUInt32LE(4), sequence = header.readBigUInt64LE(8);
  const payload = header.subarray(HEADER);
  if (epoch < lastEpoch || kind > STATUS) continue; // of an assignment that is over
  if (epoch > lastEpoch) [lastEpoch, last, inStep] = [epoch, 0n, false];
  // What is composed for newcomers or sent again carries the last number; anything else takes the next one.
  const expected = last + (flags & (IMAGE | REPEATED) ? 0n : 1n);
  if (last && sequence > expected) {
    console.log(`lost ${sequence - expected} records`);
    inStep = false;
    if (kind !== SNAPSHOT) {
      socket.unsubscribe(filter); // subscribed again, it answers with status and image
      socket.subscribe(filter);
    }
  }
  if (sequence > last) last = sequence;
  if (kind === STATUS) {
    console.log(`status ${epoch} ${sequence} ${payload}`);
  } else if (
    (kind === SNAPSHOT && !(flags & IMAGE && inStep)) || // in step, an image is for somebody else
    (kind === DELTA && inStep) || // else it continues nothing
    (kind === UPDATE && !(flags & REPEATED))
  ) {
    inStep = true;
    console.log(`${KINDS[kind]} ${epoch} ${sequence} ${payload.length} bytes`);
  }
}
