// What the instrumented programs do: a tool call, the answer that follows, an embedding, and a call that fails.

const assert = require('node:assert');
const { context, trace } = require('@opentelemetry/api');
const { fakeOpenAI, tool } = require('./fake_openai.cjs');

const question = 'What is the weather in Lisbon?';

/**
 * Everything but the call that fails is one trace, under a span `answer`, which has `attributes`; `ctx` is the
 * context that it starts in.
 */
exports.weatherDesk = (attributes = {}, ctx = context.active()) =>
  fakeOpenAI(async (baseURL) => {
    const { OpenAI } = require('openai'); // after the instrumentation was registered, or it is not seen
    const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const tracer = trace.getTracer('weather-desk', '1.0');

    await tracer.startActiveSpan('answer', { attributes }, ctx, async (root) => {
      await client.embeddings.create({ model: 'embed-1', input: question, encoding_format: 'float' });
      const messages = [
        { role: 'system', content: 'Answer in one sentence.' },
        { role: 'user', content: question },
      ];
      const request = { model: 'fake-1', messages, tools: [tool] };
      const { message } = (await client.chat.completions.create(request)).choices[0];
      messages.push(message);
      messages.push({ role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'Sunny in Lisbon, 24 degrees.' });
      const last = await client.chat.completions.create(request);
      assert.equal(last.choices[0].message.content, 'It is sunny in Lisbon.');
      root.end();
    });

    const broken = { model: 'broken-1', messages: [{ role: 'user', content: question }] };
    await assert.rejects(client.chat.completions.create(broken), /on fire/);
  });
