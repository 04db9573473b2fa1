// Writes with ioredis while its parent kills the leader: `node ioredis.cjs plain|cluster|sentinel PORT…`.
// Prints each number whose SET was acknowledged; ends when its input ends.
const Redis = require("ioredis");

const [kind, ...ports] = process.argv.slice(2);
const nodes = ports.map((port) => ({ host: "127.0.0.1", port: Number(port) }));

const makers = {
  plain: () => new Redis(nodes[0].port, nodes[0].host),
  cluster: () => new Redis.Cluster(nodes),
  sentinel: () => new Redis({ sentinels: nodes, name: "mymaster" }),
};

async function main() {
  const client = makers[kind]();
  // Connection errors are ioredis's own business; it says so here and connects again.
  client.on("error", () => {});
  let ended = false;
  process.stdin.on("end", () => (ended = true)).resume();
  for (let n = 1; !ended; n++) {
    try {
      await client.set(`key:${n}`, n);
      console.log(`acknowledged ${n}`);
    } catch (error) {
      console.log(`failed ${n} ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  client.disconnect();
}

main();
