// Writes while its parent ends a server: `node write.cjs ioredis|redis plain|cluster|sentinel PORT…`.
// Prints each number whose SET was acknowledged; ends when its input ends.
const [library, kind, ...ports] = process.argv.slice(2);
const nodes = ports.map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const urls = nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` }));
const name = "mymaster";

const makers = {
  ioredis: (Redis) => ({
    plain: () => new Redis(nodes[0].port, nodes[0].host),
    cluster: () => new Redis.Cluster(nodes),
    sentinel: () => new Redis({ sentinels: nodes, name }),
  }),
  // It connects when it is told to.
  redis: (redis) => ({
    plain: () => redis.createClient(urls[0]),
    cluster: () => redis.createCluster({ rootNodes: urls }),
    sentinel: () => redis.createSentinel({ name, sentinelRootNodes: nodes }),
  }),
};

async function main() {
  const client = makers[library](require(library))[kind]();
  // Connection errors are the library's own business; it says so here and connects again.
  client.on("error", () => {});
  if (library === "redis") await client.connect();
  let ended = false;
  process.stdin.on("end", () => (ended = true)).resume();
  for (let n = 1; !ended; n++) {
    try {
      await client.set(`key:${n}`, n.toString());
      console.log(`acknowledged ${n}`);
    } catch (error) {
      console.log(`failed ${n} ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  process.exit();
}

main();
