// Langfuse's SDK with a plain exporter; with `native`, its own, and scores, which go to paths of Langfuse's own API.

const assert = require('node:assert');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
const { LangfuseSpanProcessor } = require('@langfuse/otel');
const { observeOpenAI } = require('@langfuse/openai');
const { propagateAttributes, startActiveObservation, startObservation } = require('@langfuse/tracing');
const { LangfuseClient } = require('@langfuse/client');
const { NodeSDK } = require('@opentelemetry/sdk-node');
const { OpenAI } = require('openai');
const { fakeOpenAI, tool } = require('../fake_openai.cjs');
const { main, otel } = require('./coding_agent.cjs');

const native = process.argv[2] === 'native';
const keys = { publicKey: 'pk-lf-none', secretKey: 'sk-lf-none', baseUrl: otel.OTEL_EXPORTER_OTLP_ENDPOINT };
const processor = new LangfuseSpanProcessor({ ...keys, ...(!native && { exporter: new OTLPTraceExporter() }) });
const sdk = new NodeSDK({ spanProcessors: [processor] });
const question = 'What is the weather in Lisbon?';

/** Starts are in milliseconds: what follows starts later than what went before. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

const answer = (client) =>
  startActiveObservation(
    'answer',
    async (agent) => {
      agent.update({ input: question, metadata: { desk: 'weather' } });
      startObservation('polite', { input: question, output: { passed: true } }, { asType: 'guardrail' }).end();
      await pause();
      startObservation(
        'find',
        { input: question, output: [{ id: 'd1', text: 'Lisbon is in Portugal.' }] },
        { asType: 'retriever' },
      ).end();
      const messages = [
        { role: 'system', content: 'Answer in one sentence.' },
        { role: 'user', content: question },
      ];
      const request = { model: 'fake-1', messages, tools: [tool] };
      const { message } = (await client.chat.completions.create(request)).choices[0];
      messages.push(message);
      const called = startObservation('get_weather', { input: { city: 'Lisbon' } }, { asType: 'tool' });
      called.update({ output: 'Sunny in Lisbon, 24 degrees.' }).end();
      messages.push({ role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'Sunny in Lisbon, 24 degrees.' });
      const { content } = (await client.chat.completions.create(request)).choices[0].message;
      assert.equal(content, 'It is sunny in Lisbon.');
      agent.update({ output: content });
      return { traceId: agent.traceId, observationId: agent.id };
    },
    { asType: 'agent' },
  );

main(async () => {
  sdk.start();
  const langfuse = new LangfuseClient(keys);
  await fakeOpenAI(async (baseURL) => {
    const client = observeOpenAI(new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 }));
    const said = {
      sessionId: 'chat-lf',
      userId: 'user-lf',
      traceName: 'weather-desk',
      tags: ['a', 'b'],
      version: '1.2',
      metadata: { tier: 'gold' },
    };
    const scored = await propagateAttributes(said, () => answer(client));
    if (native) {
      langfuse.score.create({ ...scored, name: 'helpful', value: 0.75, comment: 'short' });
      langfuse.score.create({ ...scored, name: 'tone', value: 'polite', dataType: 'CATEGORICAL' });
      langfuse.score.create({ sessionId: 'chat-lf', name: 'solved', value: 1, dataType: 'BOOLEAN' });
    }
    const broken = { model: 'broken-1', messages: [{ role: 'user', content: question }] };
    await assert.rejects(client.chat.completions.create(broken), /on fire/);
  });
  await pause();
  const made = startObservation(
    'by-hand',
    { model: 'gpt-x', input: [{ role: 'user', content: 'hi' }], modelParameters: { temperature: 0 } },
    { asType: 'generation' },
  );
  const usageDetails = { input: 11, output: 3, input_cached_tokens: 4, output_reasoning_tokens: 1, total: 14 };
  made.update({
    output: { role: 'assistant', content: 'hello' },
    usageDetails,
    costDetails: { input: 0.001, output: 0.002, total: 0.003 },
  });
  made.end();
  await pause();
  startObservation(
    'judge',
    { input: 'hello', output: { score: 0.9, label: 'pass', reasoning: 'polite' } },
    { asType: 'evaluator' },
  ).end();
  await pause();
  startObservation(
    'vector',
    { model: 'embed-1', input: 'hi', usageDetails: { input: 4 } },
    { asType: 'embedding' },
  ).end();
  await pause();
  startObservation(
    'refuses',
    { input: { city: 'Nowhere' }, level: 'ERROR', statusMessage: 'no such city' },
    { asType: 'tool' },
  ).end();
  await langfuse.flush();
  await sdk.shutdown();
});
