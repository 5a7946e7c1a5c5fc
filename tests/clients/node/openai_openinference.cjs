// The openai client under OpenInference.

const { context } = require('@opentelemetry/api');
const { setSession } = require('@arizeai/openinference-core');
const { OpenAIInstrumentation } = require('@arizeai/openinference-instrumentation-openai');
const { run } = require('./telemetry.cjs');
const { weatherDesk } = require('./weather_desk.cjs');

run(new OpenAIInstrumentation(), () =>
  weatherDesk({ 'openinference.span.kind': 'AGENT' }, setSession(context.active(), { sessionId: 'chat-6' })),
);
