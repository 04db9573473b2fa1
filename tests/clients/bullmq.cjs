// BullMQ gives jobs and does them while its parent ends a server: `node bullmq.cjs JOBS PORT…`, one port for a server that is alone,
// those of all nodes for Sentinel. Prints `half` when half the jobs are done; the last few wait for an input line. At the end
// it prints what has become of the jobs, as JSON.
const { Queue, Worker } = require("bullmq");

const [jobs, ...ports] = process.argv.slice(2).map(Number);
const nodes = ports.map((port) => ({ host: "127.0.0.1", port }));
const server = nodes.length === 1 ? nodes[0] : { sentinels: nodes, name: "mymaster" };
// A command waits for as long as there is no server.
const connection = { ...server, maxRetriesPerRequest: null };

// Every third job fails at its first attempt, every fifth begins late.
const FAILS = 3;
const LATE = 5;
const DELAY_MS = 300;
// Jobs that are under way while the server is away.
const HELD = 5;

async function main() {
  const queue = new Queue("squares", { connection });
  queue.on("error", (error) => console.error(String(error)));
  const attempts = new Map();
  let completed = 0;
  const failures = [];
  let doneHalf;
  const half = new Promise((resolve) => (doneHalf = resolve));
  const told = new Promise((resolve) => process.stdin.once("data", resolve));

  const worker = new Worker(
    "squares",
    async (job) => {
      const n = job.data.n;
      attempts.set(n, (attempts.get(n) ?? 0) + 1);
      if (n >= jobs - HELD) await told;
      if (n % LATE === 0 && Date.now() < job.data.notBefore) throw new Error(`job ${n} begins early`);
      if (n % FAILS === 0 && job.attemptsMade === 0) throw new Error("not at the first attempt");
      return n * n;
    },
    { connection, concurrency: 10, lockDuration: 5000, stalledInterval: 2000, maxStalledCount: 10 },
  );
  // Connection errors are said here; BullMQ connects again.
  worker.on("error", (error) => console.error(String(error)));
  worker.on("completed", () => {
    completed += 1;
    if (completed >= jobs / 2) doneHalf();
  });
  worker.on("failed", (job, error) => {
    if (error.message !== "not at the first attempt") failures.push(error.message);
  });

  const add = (n) => {
    const delay = n % LATE === 0 ? DELAY_MS : 0;
    const options = { jobId: `job-${n}`, delay, attempts: 5, backoff: { type: "fixed", delay: 50 } };
    return queue.add("square", { n, notBefore: Date.now() + delay }, options);
  };
  const range = (from, to) => Array.from({ length: to - from }, (_, at) => from + at);
  await Promise.all(range(0, jobs / 2).map(add));
  // Those that are going to be around while the server goes away.
  const adding = range(jobs / 2, jobs).map(add);
  await half;
  console.log("half");
  await Promise.all(adding);
  // The worker does not hear of a job whose answer was lost with the connection: the queue knows.
  while ((await queue.getCompletedCount()) < jobs) await new Promise((resolve) => setTimeout(resolve, 50));
  const counts = await queue.getJobCounts();
  const stored = await queue.getJobs(["completed"], 0, jobs);
  console.log(
    JSON.stringify({
      counts,
      failures,
      results: stored.map((job) => [job.data.n, job.returnvalue]),
      attempts: [...attempts],
    }),
  );
  await worker.close();
  await queue.close();
  process.stdin.destroy();
}

main();
