// A completions server on loopback that needs no model; it answers as python/fake_openai.py does.

const http = require('node:http');

const tool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Say what the weather is like in a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

const completion = (request) => {
  const asks = request.tools && request.messages.at(-1).role !== 'tool';
  const call = { id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '{"city": "Lisbon"}' } };
  const message = asks
    ? { role: 'assistant', content: null, refusal: null, tool_calls: [call] }
    : { role: 'assistant', content: 'It is sunny in Lisbon.', refusal: null };
  const [input, output] = asks ? [25, 7] : [40, 9];
  const finish = asks ? 'tool_calls' : 'stop';
  return {
    id: `chatcmpl-${finish}`,
    object: 'chat.completion',
    created: 1700000000,
    model: `${request.model}-2026-01-01`,
    choices: [{ index: 0, message, finish_reason: finish, logprobs: null }],
    usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
  };
};

const embedding = (request) => ({
  object: 'list',
  data: [{ object: 'embedding', index: 0, embedding: [0.25, -0.5, 0.75] }],
  model: `${request.model}-2026-01-01`,
  usage: { prompt_tokens: 6, total_tokens: 6 },
});

const answer = (url, request) => {
  if (request.model === 'broken-1') {
    return [500, { error: { message: 'The model is on fire.', type: 'server_error', code: null } }];
  }
  return [200, url.endsWith('/embeddings') ? embedding(request) : completion(request)];
};

/** Serve while `use(baseURL)` runs. */
const fakeOpenAI = async (use) => {
  const server = http.createServer(async (request, response) => {
    const parts = await request.toArray();
    const [status, value] = answer(request.url, JSON.parse(Buffer.concat(parts)));
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await use(`http://127.0.0.1:${server.address().port}/v1`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
};

module.exports = { fakeOpenAI, tool };
