// The part of graphile_peer.py that is Node.js: `setup` installs the schema, `work` runs jobs until
// it is killed. NODE_PATH leads to the packages. Settings: those of worker.graphile.org/docs/performance.
"use strict";

const fs = require("node:fs");
const { run, runMigrations, Logger } = require("graphile-worker");

const connectionString = process.env.BENCH_PEER_DSN;
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
let written = null;

// As protocol.stamp(): a job's start; while draining (time 0) only the first of a process.
function stamp(sent) {
  const now = (performance.timeOrigin + performance.now()) / 1e3;
  if (sent === 0 && written !== null) return;
  written ??= fs.openSync(process.env.BENCH_PEER_STAMPS, "a", 0o600);
  const pair = Buffer.alloc(16);
  pair.writeDoubleLE(sent, 0);
  pair.writeDoubleLE(now, 8);
  fs.writeSync(written, pair);
}

async function main(command) {
  if (command === "setup") return runMigrations({ connectionString, logger });
  const runner = await run({
    preset: {
      worker: {
        connectionString,
        logger,
        concurrentJobs: 24,
        maxPoolSize: 25,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    taskList: { bench: ({ sent }) => stamp(sent) },
  });
  return runner.promise;
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
