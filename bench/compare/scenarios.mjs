// What is measured: the load, and which figures of it are shown. `better` says which way is better.

const micros = { unit: "µs", digits: 2, better: "less" };
const share = { unit: "µs", digits: 1, better: "less" };

/** Of a server that delivered nothing there is no such figure. */
const delivered = (of) => (server) => (server.delivered ? of(server) : undefined);

const CPU = { title: "CPU for each delivery", of: delivered((server) => server.cpuPerDeliveryUs), ...micros };
const RATE = { title: "deliveries/s", of: delivered((server) => server.deliveriesPerSecond), unit: "/s", digits: 0, better: "more" };
const MEDIAN = { title: "latency, median", of: delivered((server) => server.latencyUs?.p50 / 1000), unit: "ms", digits: 1, better: "less" };
const P99 = { title: "latency, p99", of: delivered((server) => server.latencyUs?.p99 / 1000), unit: "ms", digits: 1, better: "less" };
const LOST = {
  title: "lost",
  of: (server) => (server.expected ? (100 * server.lost) / server.expected : undefined),
  unit: "%",
  digits: 2,
  better: "less",
  plain: true,
};
const PER_READ = { title: "events in a read", of: delivered((server) => server.eventsPerRead), unit: "", digits: 1, plain: true };

const BYTES = { title: "bytes for each delivery", of: delivered((server) => server.bytesPerDelivery), unit: "B", digits: 0, better: "less", plain: true };
const DECODED = { title: "decoded", of: delivered((server) => server.decodedBytesPerDelivery), unit: "B", digits: 0, plain: true };
const MEMORY = { title: "memory for each subscriber", of: (server) => server.memoryPerSubscriber, unit: "B", digits: 0, better: "less" };
/** What compression saves and what it takes: nothing here is won or lost. */
const plain = (...figures) => figures.map((figure) => ({ ...figure, plain: true }));

/** An event as applications have them: fields that are the same in each, and `{data}`, which is words, others in each. */
export const EVENT =
  '{"type":"order.updated","order":{"id":"ord-{seq}","status":"shipped","currency":"EUR","total":12990,"updatedAt":"2026-01-01T12:00:00Z"},"note":"{data}"}';

/** So slow that all of them can follow. */
const CALMLY = ["--connect-rate", "1000/s"];

/** The first figure is the one that is plotted. With `gzip` only servers that can compress take part, with and without it. */
export const scenarios = {
  memory: {
    title: "Idle memory",
    about: "streams are opened at 1,000 a second, then nothing happens",
    target: "all",
    load: { full: [...CALMLY, "--events", "1", "--warm-up", "1", "--rate", "10/s"] },
    figures: [MEMORY],
  },
  paced: {
    title: "Paced fan-out",
    about: "an event to everybody each 200 ms",
    target: "all",
    load: { full: [...CALMLY, "--events", "50", "--rate", "5/s"], quick: [...CALMLY, "--events", "20", "--rate", "20/s"] },
    figures: [CPU, MEDIAN, P99, LOST],
  },
  saturated: {
    title: "Saturated fan-out",
    about: "the next event to everybody as soon as the last one is accepted",
    target: "all",
    load: { full: [...CALMLY, "--events", "200", "--rate", "max"], quick: [...CALMLY, "--events", "20", "--rate", "max"] },
    figures: [RATE, CPU, PER_READ, LOST],
  },
  one: {
    title: "One user among many",
    about: "500 events a second, each to one user, another one each time; CPU is with what the publish takes",
    target: "one",
    load: { full: [...CALMLY, "--events", "10000", "--rate", "500/s"], quick: [...CALMLY, "--events", "20", "--rate", "50/s"] },
    figures: [CPU, MEDIAN, P99, LOST],
  },
  storm: {
    title: "Connect storm",
    about: "all streams are opened as fast as they are accepted",
    target: "all",
    load: { full: ["--connect-rate", "max", "--events", "1", "--warm-up", "1", "--rate", "10/s"] },
    figures: [
      { title: "CPU for each connect", of: (server) => server.cpuPerConnectUs, ...share },
      { title: "connects/s", of: (server) => server.connectsPerSecond, unit: "/s", digits: 0, better: "more" },
      {
        title: "refused",
        of: (server) => Object.values(server.connectFailures ?? {}).reduce((sum, count) => sum + count, 0),
        unit: "",
        digits: 0,
        plain: true,
      },
    ],
  },
};

scenarios.compressed = {
  ...scenarios.paced,
  title: "Compressed streams",
  about: "an event of some 270 bytes of JSON to everybody each 200 ms, with gzip and without it",
  gzip: true,
  figures: [BYTES, DECODED, ...plain(CPU, MEDIAN, P99, MEMORY), LOST],
};
scenarios["compressed-saturated"] = {
  ...scenarios.saturated,
  title: "Compressed streams, saturated",
  about: "the same events as soon as the last one is accepted",
  gzip: true,
  figures: [BYTES, DECODED, ...plain(RATE, CPU), PER_READ, LOST],
};

/** Whether settings of a server are measured in a scenario: what compresses has those of its own. */
export const isFor = (scenario, peer, variant) => (scenarios[scenario].gzip ? "gzip" in peer.variants : variant !== "gzip");

export const SUBSCRIBERS = { full: 10_000, quick: 200 };
