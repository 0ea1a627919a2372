// Predicts the labels of texts by a predict service; prints one JSON object.
//   node predict.mjs HOST:PORT TEXT...     MENTORGRAD_CA, MENTORGRAD_TOKEN: as in walk.mjs
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { MENTORGRAD_CA, MENTORGRAD_TOKEN } = process.env;
const [target, ...texts] = process.argv.slice(2);
const { v1 } = grpc.loadPackageDefinition(
  loadSync('mentorgrad/v1/predict_service.proto', {
    includeDirs: [fileURLToPath(new URL('../../protos', import.meta.url))], keepCase: true,
    defaults: true,
  }),
).mentorgrad;

const metadata = new grpc.Metadata();
if (MENTORGRAD_TOKEN) metadata.set('authorization', `Bearer ${MENTORGRAD_TOKEN}`);
const predictor = new v1.PredictService(
  target,
  MENTORGRAD_CA
    ? grpc.credentials.createSsl(readFileSync(MENTORGRAD_CA))
    : grpc.credentials.createInsecure(),
);

const call = (method, request) =>
  new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 30_000 };
    predictor[method](request, metadata, options, (error, response) =>
      error ? reject(error) : resolve(response));
  });

try {
  if (MENTORGRAD_TOKEN && !MENTORGRAD_CA && !/^(localhost|127(\.\d+){3}|\[::1\]):\d+$/.test(target))
    throw new Error(`the token would travel to ${target} unencrypted; set MENTORGRAD_CA`);
  const { info } = await call('GetPredictorInfo', {});
  const { predictions } = await call('Predict', { texts });
  const streamed = [];
  for await (const part of predictor.PredictStream({ texts }, metadata))
    for (const { label } of part.predictions) streamed.push(label);
  console.log(JSON.stringify({ labels: info.labels, predictions, streamed }));
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
} finally {
  predictor.close();
}
