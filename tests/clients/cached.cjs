// node-redis with its client-side cache: `node cached.cjs PORT…`, one port for a server that is alone, those of all nodes for
// Sentinel. For each input line, a key, it prints as JSON what the client has for it, and how often the cache had the answer.
const { createClient, createSentinel, BasicClientSideCache, BasicPooledClientSideCache } = require("redis");
const readline = require("node:readline");

const nodes = process.argv.slice(2).map((port) => ({ host: "127.0.0.1", port: Number(port) }));

async function main() {
  const isAlone = nodes.length === 1;
  const cache = isAlone ? new BasicClientSideCache() : new BasicPooledClientSideCache();
  const client = isAlone
    ? createClient({ socket: nodes[0], clientSideCache: cache })
    : createSentinel({ name: "mymaster", sentinelRootNodes: nodes, clientSideCache: cache });
  client.on("error", () => {});
  await client.connect();
  for await (const key of readline.createInterface({ input: process.stdin })) {
    const value = await client.get(key).catch((error) => `failed: ${error.message}`);
    console.log(JSON.stringify({ value, hits: cache.stats().hitCount }));
  }
  process.exit();
}

main();
