// Gemini CLI, not interactive. `grpc` sends over gRPC, as it does unless told otherwise; `spans` turns its traces on.

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { agent, answer, command, commands, main, otel, question, withModel } = require('./coding_agent.cjs');

const shell = (id, cmd) => ({
  functionCall: { id, name: 'run_shell_command', args: { command: cmd, description: 'Look' } },
});

const answered = (model, parts, [input, cached, output, thought]) => ({
  candidates: [{ index: 0, content: { role: 'model', parts }, finishReason: 'STOP' }],
  usageMetadata: {
    promptTokenCount: input,
    cachedContentTokenCount: cached,
    candidatesTokenCount: output,
    thoughtsTokenCount: thought,
    totalTokenCount: input + output + thought,
  },
  modelVersion: `${model}-2026-01-01`,
  responseId: `resp-${input}`,
});

// The second call fails once, and is made again.
const failures = [true];

const reply = (url, request) => {
  const [, model, method] = /models\/([^:]+):(\w+)/.exec(url) ?? [];
  if (method === 'countTokens') return [200, { totalTokens: 25 }];
  if (method === undefined) return [404, { error: { code: 404, message: url, status: 'NOT_FOUND' } }];
  const results = request.contents.flatMap(({ parts }) => parts).filter((part) => part.functionResponse);
  if (results.length > 0 && failures.shift())
    return [503, { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } }];
  const asks = [
    { text: 'Both are needed.', thought: true },
    { text: 'Let me look.' },
    shell('call-a1', commands.weather),
    shell('call-b2', commands.tide),
  ];
  const made =
    results.length > 0
      ? answered(model, [{ text: answer }], [1040, 1000, 9, 0])
      : answered(model, asks, [1025, 10, 50, 20]);
  return [200, method === 'streamGenerateContent' ? [made] : made];
};

main(() =>
  withModel(reply, async (url, home) => {
    const cwd = path.join(home, 'work');
    for (const folder of ['.gemini', 'work']) fs.mkdirSync(path.join(home, folder), { recursive: true });
    const settings = {
      security: { auth: { selectedType: 'gemini-api-key' } },
      privacy: { usageStatisticsEnabled: false },
      tools: { core: ['run_shell_command'] },
    };
    const instructions = path.join(home, 'instructions.md'); // its own ones are long, and are sent with each record
    fs.writeFileSync(instructions, 'Answer in one sentence.');
    fs.writeFileSync(path.join(home, '.gemini', 'settings.json'), JSON.stringify(settings));
    const env = {
      HOME: home,
      GOOGLE_GEMINI_BASE_URL: url,
      GEMINI_API_KEY: 'none',
      GEMINI_CLI_TRUST_WORKSPACE: 'true',
      GEMINI_SYSTEM_MD: instructions,
      GEMINI_TELEMETRY_ENABLED: 'true',
      GEMINI_TELEMETRY_OTLP_ENDPOINT: otel.OTEL_EXPORTER_OTLP_ENDPOINT,
      GEMINI_TELEMETRY_OTLP_PROTOCOL: process.argv[2] === 'grpc' ? 'grpc' : 'http',
      GEMINI_TELEMETRY_TRACES_ENABLED: String(process.argv[2] === 'spans'),
      ...otel,
    };
    const run = [command('@google/gemini-cli', 'gemini'), '--yolo', '-m', 'fake-1', '-p', question];
    assert.match(await agent(process.execPath, run, { env, cwd }), new RegExp(answer));
  }),
);
