// What programs on Node send: runs by the client for Node, spans by OpenTelemetry's exporters.
// Its last line is what came back, as JSON, without what a server chose.

import { createRequire } from 'node:module';

const required = createRequire(`${process.argv[3]}/package.json`);
const MLflow = required('mlflow');
const { trace, context, SpanStatusCode } = required('@opentelemetry/api');
const { BasicTracerProvider, SimpleSpanProcessor } = required('@opentelemetry/sdk-trace-base');
const { resourceFromAttributes } = required('@opentelemetry/resources');
const exporters = {
  protobuf: required('@opentelemetry/exporter-trace-otlp-proto').OTLPTraceExporter,
  json: required('@opentelemetry/exporter-trace-otlp-http').OTLPTraceExporter,
};

const url = process.argv[2];
const START = 1700000000000;
const told = {};
const said = console.log;
console.log = () => {}; // the client prints every body

async function refused(call) {
  try {
    return await call();
  } catch (error) {
    const { status, data } = JSON.parse(error.message.slice(error.message.indexOf('{')));
    return [status, data?.error_code];
  }
}

async function runs() {
  const { Experiments, Runs, Metrics, Artifacts } = new MLflow({ endpoint: url });
  const { experiment_id } = await Experiments.create({ name: 'of node' });
  told.twice = await refused(() => Experiments.create({ name: 'of node' }));
  await Experiments.update({ experiment_id, new_name: 'by node' });
  told.experiment = (await Experiments.get({ experiment_id })).experiment.name;
  const ids = [];
  for (const number of [0, 1, 2]) {
    const tags = [{ key: 'mlflow.runName', value: `run ${number}` }];
    const { run } = await Runs.create({ experiment_id, user_id: 'ann', start_time: START + number, tags });
    const run_id = run.info.run_id;
    ids.push(run_id);
    await Runs.logParameter({ run_id, key: 'lr', value: `0.${number}` });
    for (const step of [0, 1]) {
      await Runs.logMetric({ run_id, key: 'loss', value: number + step / 2, timestamp: START + step, step });
    }
    const metrics = [{ key: 'acc', value: number / 4, timestamp: START, step: 0 }];
    await Runs.logBatch({ run_id, metrics, params: [{ key: 'deep', value: 'yes' }], tags: [] });
    await Runs.setTag({ run_id, key: 'kept', value: 'a' });
    await Runs.setTag({ run_id, key: 'gone', value: 'b' });
    await Runs.deleteTag({ run_id, key: 'gone' });
    await Runs.update({ run_id, status: 'FINISHED', end_time: START + 1000 });
  }
  told.changed = await refused(() => Runs.logParameter({ run_id: ids[0], key: 'lr', value: '9' }));
  const { runs: found } = await Runs.search({
    experiment_ids: [experiment_id],
    filter: "metrics.acc > 0.1 and params.deep = 'yes'",
    order_by: ['metrics.loss DESC'],
  });
  told.found = found.map(({ info, data }) => [
    info.run_name, info.status, info.user_id, info.start_time, info.end_time,
    data.metrics.map(({ key, value, step }) => [key, value, step]).sort(),
    data.params.map(({ key, value }) => [key, value]).sort(),
    data.tags.map(({ key, value }) => [key, value]).sort(),
  ]);
  told.history = (await Metrics.getHistory({ run_id: ids[1], metric_key: 'loss' })).metrics;
  told.files = (await Artifacts.list({ run_id: ids[1] })).files ?? [];
  await Runs.delete({ run_id: ids[2] });
  told.deleted = (await Runs.get({ run_id: ids[2] })).run.info.lifecycle_stage;
  told.late = await refused(() => Runs.logMetric({ run_id: ids[2], key: 'a', value: 1, timestamp: START }));
  await Runs.restore({ run_id: ids[2] });
  told.none = await refused(() => Runs.get({ run_id: '0'.repeat(32) }));
  return experiment_id;
}

async function spans(experiment_id) {
  for (const [form, Exporter] of Object.entries(exporters)) {
    const headers = { 'x-mlflow-experiment-id': experiment_id };
    const compression = form === 'protobuf' ? 'gzip' : 'none';
    const exporter = new Exporter({ url: `${url}/v1/traces`, headers, compression });
    const provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': `shop ${form}` }),
      spanProcessors: [new SimpleSpanProcessor(exporter)],
    });
    const tracer = provider.getTracer('session');
    const root = tracer.startSpan('checkout', { attributes: { number: 7, share: 0.5, list: ['a', 'b'] } });
    const child = tracer.startSpan('pay', {}, trace.setSpan(context.active(), root));
    child.recordException(new Error('declined'));
    child.setStatus({ code: SpanStatusCode.ERROR, message: 'declined' });
    child.end();
    root.end();
    await provider.forceFlush();
    await provider.shutdown();
    told[form] = await traced(`tr-${root.spanContext().traceId}`);
  }
}

async function traced(id) {
  const answer = await fetch(`${url}/api/3.0/mlflow/traces/get?trace_id=${id}&allow_partial=true`);
  const { trace: found } = await answer.json();
  const shown = found.spans.map((span) => [
    span.name,
    span.status?.code ?? '',
    Boolean(span.parent_span_id),
    span.attributes.map(({ key }) => key).filter((key) => !key.startsWith('mlflow.')).sort(),
    (span.events ?? []).map(({ name }) => name),
  ]);
  return { state: found.trace_info.state, spans: shown.sort() };
}

await spans(await runs());
said(JSON.stringify(told));
