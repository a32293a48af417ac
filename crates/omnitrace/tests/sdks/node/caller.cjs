const { trace } = require('@opentelemetry/api');
const log = require('pino')();

trace.getTracer('caller').startActiveSpan('visit', async (span) => {
  const answer = await fetch(process.argv[2]);
  await answer.text();
  if (!answer.ok) throw new Error(`${process.argv[2]} answers ${answer.status}`);
  log.warn('visited');
  span.end();
});
