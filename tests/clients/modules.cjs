// node-redis's commands for documents, search and vector sets: `node modules.cjs PROTOCOL PORT…`, one port for a server that is
// alone, those of all nodes for Sentinel. For each input line, `[group, method, ...arguments]` as JSON, it prints
// `{reply}` or `{error}`. `{"floats": […]}` among the arguments is a vector's bytes; the group of the plain commands is "".
const { createClient, createSentinel } = require("redis");
const readline = require("node:readline");

const [protocol, ...ports] = process.argv.slice(2);
const nodes = ports.map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const RESP = Number(protocol);

function bytes(argument) {
  if (Array.isArray(argument)) return argument.map(bytes);
  if (argument === null || typeof argument !== "object") return argument;
  if (argument.floats) return Buffer.from(new Float32Array(argument.floats).buffer);
  return Object.fromEntries(Object.entries(argument).map(([name, value]) => [name, bytes(value)]));
}

function plain(_, value) {
  if (value instanceof Map) return Object.fromEntries(value);
  return value instanceof Set ? [...value] : value;
}

async function main() {
  const client =
    nodes.length === 1
      ? createClient({ socket: nodes[0], RESP })
      : createSentinel({ name: "mymaster", sentinelRootNodes: nodes, RESP });
  client.on("error", () => {});
  await client.connect();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [group, method, ...given] = JSON.parse(line);
    try {
      const target = group ? client[group] : client;
      const reply = await target[method](...bytes(given));
      console.log(JSON.stringify({ reply: reply === undefined ? null : reply }, plain));
    } catch (error) {
      console.log(JSON.stringify({ error: error.message }));
    }
  }
  process.exit();
}

main();
