// The openai client under OpenTelemetry's own instrumentation, which puts messages into log records.

const { OpenAIInstrumentation } = require('@opentelemetry/instrumentation-openai');
const { run } = require('./telemetry.cjs');
const { weatherDesk } = require('./weather_desk.cjs');

run(new OpenAIInstrumentation({ captureMessageContent: true }), weatherDesk);
