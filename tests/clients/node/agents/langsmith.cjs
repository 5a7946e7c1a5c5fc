// LangSmith's SDK, whose runs OpenTelemetry is to export.

const assert = require('node:assert');
const { watched } = require('../telemetry.cjs');
const { fakeOpenAI, tool } = require('../fake_openai.cjs');
const { plainHeaders } = require('./coding_agent.cjs');

Object.assign(process.env, {
  LANGSMITH_TRACING: 'true',
  LANGSMITH_TRACING_MODE: 'otel',
  LANGSMITH_API_KEY: 'none',
  LANGSMITH_ENDPOINT: process.env.OTEL_EXPORTER_OTLP_ENDPOINT, // for what it asks of LangSmith itself, in vain
  ...plainHeaders,
});
const { initializeOTEL } = require('langsmith/experimental/otel/setup');
const { traceable } = require('langsmith/traceable');
const { wrapOpenAI } = require('langsmith/wrappers');
const { OpenAI } = require('openai');

const question = 'What is the weather in Lisbon, and the tide?';
const metadata = { thread_id: 'chat-ls', user_id: 'user-ls' };

const weather = traceable(async ({ city }) => `Sunny in ${city}, 24 degrees.`, {
  name: 'get_weather',
  run_type: 'tool',
});
const tide = traceable(
  async () => {
    throw new Error('no tide table');
  },
  { name: 'get_tide', run_type: 'tool' },
);
const find = traceable(
  async () => [{ page_content: 'Lisbon is in Portugal.', type: 'Document', metadata: { id: 'd1' } }],
  {
    name: 'find',
    run_type: 'retriever',
  },
);

watched(async () => {
  const { DEFAULT_LANGSMITH_TRACER_PROVIDER: provider } = initializeOTEL();
  await fakeOpenAI(async (baseURL) => {
    const client = wrapOpenAI(new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 }));
    const answer = traceable(
      async (asked) => {
        await find(asked);
        const messages = [
          { role: 'system', content: 'Answer in one sentence.' },
          { role: 'user', content: asked },
        ];
        const request = { model: 'fake-1', messages, tools: [tool] };
        const { message } = (await client.chat.completions.create(request)).choices[0];
        const content = await weather({ city: 'Lisbon' });
        await tide({ city: 'Lisbon' }).catch(() => {});
        const told = [...messages, message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content }];
        return (await client.chat.completions.create({ ...request, messages: told })).choices[0].message.content;
      },
      { name: 'answer', run_type: 'chain', metadata, tags: ['desk'] },
    );
    assert.equal(await answer(question), 'It is sunny in Lisbon.');
    const broken = { model: 'broken-1', messages: [{ role: 'user', content: question }] };
    await assert.rejects(client.chat.completions.create(broken), /on fire/);
  });
  await provider.forceFlush();
  await provider.shutdown();
});
