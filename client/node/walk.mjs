// Starts a run, watches it to its end and queries its history; prints one JSON object.
//   node walk.mjs [HOST:PORT]      MENTORGRAD_CA: file of the authority's certificate, for TLS
//                                  MENTORGRAD_TOKEN: bearer token, where the service wants one
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { details, unknownFields } from './errors.mjs';

const { MENTORGRAD_SERVER, MENTORGRAD_CA, MENTORGRAD_TOKEN } = process.env;
const target = process.argv[2] ?? MENTORGRAD_SERVER ?? '127.0.0.1:50551';
const protos = fileURLToPath(new URL('../../protos', import.meta.url));
const files = ['trainer_service', 'history_service'].map((name) => `mentorgrad/v1/${name}.proto`);
const loaded = loadSync(files, {
  // int64 as String: a JavaScript number holds 53 bits only.
  includeDirs: [protos], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
});
const { v1 } = grpc.loadPackageDefinition(loaded).mentorgrad;

const credentials = MENTORGRAD_CA
  ? grpc.credentials.createSsl(readFileSync(MENTORGRAD_CA))
  : grpc.credentials.createInsecure();
const metadata = new grpc.Metadata();
if (MENTORGRAD_TOKEN) metadata.set('authorization', `Bearer ${MENTORGRAD_TOKEN}`);
const trainer = new v1.TrainerService(target, credentials);
const history = new v1.HistoryService(target, credentials);

/** One unary call, with a deadline. */
const call = (client, method, request) =>
  new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 30_000 };
    client[method](request, metadata, options, (error, response) =>
      error ? reject(error) : resolve(response));
  });

const { DEADLINE_EXCEEDED, UNAVAILABLE } = grpc.status;

/** A run's events to its end; a stream that breaks goes on after the last event that was seen. */
async function* watch(runId) {
  for (let seq = '0', broken = 0; ; ) {
    try {
      const request = { run_id: runId, after_seq: seq, follow: true };
      for await (const { event } of history.StreamEvents(request, metadata)) {
        if (!event) continue; // the service is about to stop, and the stream to break
        yield event;
        seq = event.seq;
        broken = 0;
      }
      return;
    } catch (error) {
      if (![UNAVAILABLE, DEADLINE_EXCEEDED].includes(error.code) || ++broken > 10) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200 * broken));
    }
  }
}

async function walk() {
  if (MENTORGRAD_TOKEN && !MENTORGRAD_CA && !/^(localhost|127(\.\d+){3}|\[::1\]):\d+$/.test(target))
    throw new Error(`the token would travel to ${target} unencrypted; set MENTORGRAD_CA`);
  const spec = {
    name: 'walk from node',
    objective: { function: { name: 'rastrigin', dimensions: 3 } },
    stages: { count: 2, steps: 10 },
    mentor: { name: 'random_tokens' },
    labels: { client: 'node' },
    seed: 7,
  };
  const lost = unknownFields(loaded, 'mentorgrad.v1.RunSpec', spec);
  if (lost.length) throw new Error(`a run spec has no field ${lost.join(', ')}`);
  const { run, warnings } = await call(trainer, 'CreateRun', { spec });
  warnings.forEach((warning) => console.error(`warning: ${warning}`));
  const events = [];
  for await (const { seq, payload } of watch(run.run_id)) {
    events.push(payload);
    console.error(`${seq} ${payload}`);
  }
  const ended = (await call(history, 'GetRun', { run_id: run.run_id })).run;
  const filter = { labels: { client: 'node' }, states: ['RUN_STATE_SUCCEEDED'] };
  const { runs } = await call(history, 'ListRuns', { filter, page_size: 10 });
  const losses = [];
  for await (const piece of history.GetTrajectory({ run_id: run.run_id, max_points: 5 }, metadata))
    for (const { step, train_loss } of piece.snapshots) losses.push([Number(step), train_loss]);
  const { returned, usage } = ended.result;
  return {
    run_id: run.run_id, state: ended.state, events, losses,
    listed: runs.map((listed) => listed.run_id),
    best_loss: returned.score.loss, gradient_steps: Number(usage.gradient_steps),
  };
}

try {
  console.log(JSON.stringify(await walk()));
} catch (error) {
  console.error(`error: ${error.message}`, ...details(error));
  process.exitCode = 1;
} finally {
  trainer.close();
  history.close();
}
