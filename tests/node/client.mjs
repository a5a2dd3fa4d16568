// A client of the Synaptic Bridge from docs/protocol.md alone: it runs the conformance vectors, and holds a small conversation.
// node client.mjs BRIDGE_ENDPOINT VECTORS.json
import { readFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { context, Dealer, Subscriber } from "zeromq";
import { Decoder, Encoder, ExtensionCodec } from "@msgpack/msgpack";

context.blocky = false; // the process may end without waiting for what is on its way

class Reference {
  constructor(bytes) { this.bytes = Buffer.from(bytes); }
  toString() { return "@" + (this.bytes.toString("hex").replace(/^0+/, "") || "0"); }
}
class Result {
  constructor(number) { this.number = number; }
}
const extensionCodec = new ExtensionCodec();
extensionCodec.register({ type: 1, encode: (v) => (v instanceof Reference ? v.bytes : null), decode: (data) => new Reference(data) });
extensionCodec.register({ type: 2, encode: (v) => (v instanceof Result ? Uint8Array.of(v.number) : null), decode: (data) => new Result(data[0]) });
const encoder = new Encoder({ extensionCodec, useBigInt64: true });
// The keys of this language's objects are texts; a program that needs to tell the key 1 from "1" decodes maps in another way.
const mapKeyConverter = (key) => (typeof key === "bigint" ? String(key) : key);
const decoder = new Decoder({ extensionCodec, useBigInt64: true, mapKeyConverter });
const hex = (text) => Buffer.from(text, "hex");
const plainNumbers = (v) => (typeof v === "bigint" && v <= Number.MAX_SAFE_INTEGER && v >= Number.MIN_SAFE_INTEGER ? Number(v) : v);

class Image {
  constructor(endpoint) {
    this.socket = new Dealer({ linger: 0 });
    this.socket.connect(endpoint);
    this.session = randomUUID();
    this.seq = 0;
    this.ids = 0;
  }
  async raw(frame) {
    await this.socket.send(frame);
    const [answer] = await this.socket.receive();
    return decoder.decode(answer);
  }
  async ask(request) {
    const answer = await this.raw(encoder.encode({ id: ++this.ids, ...request }));
    if (answer.op === "Error") throw Object.assign(new Error(`${answer.type}: ${answer.message}`), { type: answer.type });
    return answer;
  }
  async changing(request) {
    this.seq += 1;
    return (await this.ask({ session: this.session, seq: this.seq, floor: this.seq - 1, ...request })).result;
  }
  send(target, selector, ...args) {
    return this.changing({ op: "Send", target, selector, args });
  }
}

// A request around a value that is given in bytes: this library would write it as short as it can.
function setting(value) {
  const head = Buffer.from(encoder.encode({ op: "Send", id: 1, target: "conformance-node", selector: "setSlot_value_", args: ["value", 0] }));
  return Buffer.concat([head.subarray(0, -1), value]);
}

function meaning(value) {
  if (value instanceof Reference) return { ref: value.toString() };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(meaning);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, meaning(item)]));
  return plainNumbers(value);
}

const failures = [];
let checks = 0;
function check(name, seen, expected) {
  checks += 1;
  if (!isDeepStrictEqual(seen, expected)) failures.push({ name, seen: String(JSON.stringify(seen, (_, v) => (typeof v === "bigint" ? `${v}n` : v))).slice(0, 300) });
}

async function vectors(image, all) {
  const made = await image.send("genesis_obj", "clone");
  await image.send(made, "nameAs_", "conformance-node");
  for (const { name, value, answer } of all.values) {
    const stored = await image.raw(setting(hex(value)));
    check(`${name}: stored`, stored.op, "Reply");
    const got = await image.ask({ op: "Send", target: "conformance-node", selector: "value" });
    check(name, got.result, decoder.decode(hex(answer ?? value)));
  }
  for (const { name, value, type } of all.refused) {
    const answer = await image.raw(setting(hex(value)));
    check(name, [answer.op, answer.type], ["Error", type]);
  }
  for (const { name, frame, answer } of all.requests) {
    const seen = await image.raw(hex(frame));
    for (const [field, expected] of Object.entries(answer)) {
      const wanted = field === "result" || field === "value" ? decoder.decode(hex(expected)) : expected;
      // JSON in this language has no integers past 2^53.
      check(`${name}: ${field}`, typeof seen[field] === "bigint" ? Number(seen[field]) : seen[field], wanted);
    }
  }
  for (const { name, frame, meaning: expected } of all.messages) check(name, meaning(decoder.decode(hex(frame))), expected);
}

async function conversation(image) {
  const welcome = await image.ask({ op: "Hello", versions: [1], client: "node" });
  const events = new Subscriber({ linger: 0 });
  events.connect(welcome.events);
  const ready = `ready.${randomUUID()}`;
  events.subscribe("state", ready);
  while ((await events.receive())[0].toString() !== ready);

  const [item] = await image.changing({
    op: "Transaction",
    sends: [
      { target: "genesis_obj", selector: "clone" },
      { target: new Result(0), selector: "setSlot_value_", args: ["price", 3.5] },
      { target: new Result(0), selector: "nameAs_", args: ["node's item"] },
    ],
  });
  check("get", await image.send(item, "price"), 3.5);
  check("compare and set", await image.send(item, "compareAndSet_", "price", 3.5, 4.5), true);
  check("compare and set again", await image.send(item, "compareAndSet_", "price", 3.5, 5.5), false);
  try {
    await image.changing({ op: "Transaction", sends: [{ target: item, selector: "setSlot_value_", args: ["price", 9.5] }, { target: "nobody", selector: "name" }] });
    check("a transaction with a failing send", "answered", "refused");
  } catch (error) {
    check("a transaction with a failing send", error.type, "NoSuchObject");
  }
  check("nothing of it happened", await image.send(item, "price"), 4.5);

  const seen = [];
  while (seen.length < 2) {
    const [topic, payload, position] = await events.receive();
    if (topic.toString() !== "state") continue;
    check("a position", position.length, 16);
    for (const change of decoder.decode(payload).changes) if (change.reference.toString() === item.toString()) seen.push(change);
  }
  check("the new object came whole", [seen[0].whole, seen[0].names, seen[0].slots.price], [true, ["node's item"], 3.5]);
  check("then its change", [seen[1].whole, seen[1].slots], [false, { price: 4.5 }]);
  events.close();
}

const image = new Image(process.argv[2]);
await vectors(image, JSON.parse(readFileSync(process.argv[3], "utf8")));
await conversation(image);
image.socket.close();
console.log(JSON.stringify({ checks, failures }));
process.exitCode = failures.length ? 1 : 0;
