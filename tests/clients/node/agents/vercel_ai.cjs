// The AI SDK of Vercel, major version 5, 6 or 7, with the models of its own `ai/test`.
//
//     vercel_ai.cjs 5|6|7|legacy        legacy: version 7 with the spans of the earlier versions

const assert = require('node:assert');
const { z } = require('zod');
const { run } = require('../telemetry.cjs');

const names = process.argv[2];
const version = names === 'legacy' ? '7' : names;

const question = 'What is the weather in Lisbon, and the tide?';

// Each specification of models counts tokens and names reasons in a form of its own.
const usage = (input, output, cached = 0, reasoning = 0) =>
  version === '5'
    ? {
        inputTokens: input,
        outputTokens: output,
        totalTokens: input + output,
        cachedInputTokens: cached,
        reasoningTokens: reasoning,
      }
    : {
        inputTokens: { total: input, noCache: input - cached, cacheRead: cached, cacheWrite: 0 },
        outputTokens: { total: output, text: output - reasoning, reasoning },
      };
const reason = (word) => (version === '5' ? word : { unified: word, raw: word });
const response = (id) => ({ id, modelId: 'fake-1-2026', timestamp: new Date(1700000000000) });

const call = (toolCallId, toolName) => ({ type: 'tool-call', toolCallId, toolName, input: '{"city":"Lisbon"}' });
const asks = {
  content: [
    { type: 'reasoning', text: 'Both are needed.' },
    { type: 'text', text: 'Let me look.' },
    call('call_1', 'get_weather'),
    call('call_2', 'get_tide'),
  ],
  finishReason: reason('tool-calls'),
  usage: usage(25, 7, 10, 2),
  response: response('resp-1'),
  warnings: [],
};
const answers = (text, finish = 'stop') => ({
  content: [{ type: 'text', text }],
  finishReason: reason(finish),
  usage: usage(40, 9),
  response: response('resp-2'),
  warnings: [],
});

const chunks = (first) => [
  { type: 'stream-start', warnings: [] },
  { type: 'response-metadata', ...response('resp-3') },
  { type: 'text-start', id: '0' },
  { type: 'text-delta', id: '0', delta: first },
];
const rest = [
  { type: 'text-delta', id: '0', delta: ' in Lisbon.' },
  { type: 'text-end', id: '0' },
  { type: 'finish', finishReason: reason('stop'), usage: usage(12, 5) },
];

/** A stream that never ends by itself. */
const endless = (abortSignal) =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks('It is')) controller.enqueue(chunk);
      abortSignal.addEventListener('abort', () => controller.error(abortSignal.reason));
    },
  });

const main = async () => {
  const ai = await import(require.resolve(`ai${version}`));
  const mocks = await import(require.resolve(`ai${version}/test`));
  const Model = mocks[{ 5: 'MockLanguageModelV2', 6: 'MockLanguageModelV3', 7: 'MockLanguageModelV4' }[version]];
  if (version === '7') {
    const { OpenTelemetry, LegacyOpenTelemetry } = require('@ai-sdk/otel');
    const modern = () => new OpenTelemetry({ usage: true, runtimeContext: true, providerMetadata: true });
    ai.registerTelemetry(names === 'legacy' ? new LegacyOpenTelemetry() : modern());
  }

  // The context of a call, in its own way since version 7.
  const told = (functionId) => {
    const metadata = { sessionId: 'chat-v', userId: 'user-v' };
    const included = { sessionId: true, userId: true };
    return version === '7'
      ? { runtimeContext: metadata, telemetry: { functionId, includeRuntimeContext: included } }
      : { experimental_telemetry: { isEnabled: true, functionId, metadata } };
  };
  const model = (settings) => new Model({ provider: 'fake', modelId: 'fake-1', ...settings });

  const tools = {
    get_weather: ai.tool({
      description: 'Say what the weather is like in a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => `Sunny in ${city}, 24 degrees.`,
    }),
    get_tide: ai.tool({
      description: 'Say how high the tide is in a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20)); // so that it ends last
        throw new Error('no tide table');
      },
    }),
  };
  const script = [asks, answers('It is sunny in Lisbon.')];
  const asked = await ai.generateText({
    model: model({ doGenerate: async () => script.shift() }),
    tools,
    stopWhen: ai.stepCountIs(3),
    system: 'Answer in one sentence.',
    prompt: question,
    maxRetries: 0,
    ...told('weather-desk'),
  });
  assert.equal(asked.text, 'It is sunny in Lisbon.');

  const streamed = ai.streamText({
    model: model({
      doStream: async () => ({ stream: mocks.convertArrayToReadableStream([...chunks('It is sunny'), ...rest]) }),
    }),
    messages: [{ role: 'user', content: 'And now?' }],
    ...told('weather-stream'),
  });
  assert.equal(await streamed.text, 'It is sunny in Lisbon.');

  const abort = new AbortController();
  const aborted = ai.streamText({
    model: model({ doStream: async ({ abortSignal }) => ({ stream: endless(abortSignal) }) }),
    prompt: 'And then?',
    abortSignal: abort.signal,
    onError: () => {},
    ...told('weather-aborted'),
  });
  for await (const part of aborted.fullStream) {
    if (part.type === 'text-delta') abort.abort();
  }

  const { object } = await ai.generateObject({
    model: model({ doGenerate: async () => answers('{"city":"Lisbon","degrees":24}') }),
    schema: z.object({ city: z.string(), degrees: z.number() }),
    prompt: 'Lisbon as an object.',
    maxRetries: 0,
    ...told('weather-object'),
  });
  assert.equal(object.degrees, 24);

  const fails = async () => {
    throw new Error('The model is on fire.');
  };
  const broken = new Model({ provider: 'fake', modelId: 'broken-1', doGenerate: fails });
  await assert.rejects(ai.generateText({ model: broken, prompt: question, maxRetries: 0, ...told('weather-broken') }));
};

run([], main);
