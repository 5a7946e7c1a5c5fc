// Codex, whose telemetry is set in its config.toml. It does not say if an export failed.

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { agent, answer, command, commands, headers, main, otel, question, withModel } = require('./coding_agent.cjs');

const call = (id, cmd) => ({
  type: 'function_call',
  id: `fc_${id}`,
  call_id: `call_${id}`,
  name: 'exec_command',
  arguments: JSON.stringify({ cmd }),
});
const message = (id, text) => ({
  type: 'message',
  id,
  role: 'assistant',
  content: [{ type: 'output_text', text, annotations: [] }],
});
const reasoning = {
  type: 'reasoning',
  id: 'rs_1',
  summary: [{ type: 'summary_text', text: 'Both are needed.' }],
  content: null,
};

const response = (id, items, [input, cached, output, reasoned]) => [
  { type: 'response.created', response: { id } },
  ...items.map((item, index) => ({ type: 'response.output_item.done', output_index: index, item })),
  {
    type: 'response.completed',
    response: {
      id,
      usage: {
        input_tokens: input,
        input_tokens_details: { cached_tokens: cached },
        output_tokens: output,
        output_tokens_details: { reasoning_tokens: reasoned },
        total_tokens: input + output,
      },
    },
  },
];

// The second call fails once, and is made again.
const failures = [true];

const reply = (url, request) => {
  if (!url.endsWith('/responses')) return [404, { error: { message: `no ${url}` } }];
  const asked = request.input.some((item) => item.type === 'function_call_output');
  if (asked && failures.shift()) return [500, { error: { message: 'The model is busy.', type: 'server_error' } }];
  const items = asked
    ? [message('msg_2', answer)]
    : [
        reasoning,
        message('msg_1', 'Let me look.'),
        call('Qz8sT1Jv0hYb', commands.weather),
        call('Lr4nXe7WcKd2', commands.tide),
      ];
  return [200, asked ? response('resp_2', items, [1040, 1000, 9, 0]) : response('resp_1', items, [1025, 10, 70, 20])];
};

const config = (url) => {
  const target = otel.OTEL_EXPORTER_OTLP_ENDPOINT;
  const told = Object.entries(headers).map(([name, value]) => `${JSON.stringify(name)} = ${JSON.stringify(value)}`);
  return `
model_provider = "fake"
check_for_update_on_startup = false

[model_providers.fake]
name = "fake"
base_url = "${url}/v1"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 0

[analytics]
enabled = false

[otel]
environment = "test"
log_user_prompt = true
exporter = { otlp-http = { endpoint = "${target}/v1/logs", protocol = "binary", headers = { ${told.join(', ')} } } }
trace_exporter = "none"
metrics_exporter = "none"
`;
};

main(() =>
  withModel(reply, async (url, home) => {
    const cwd = path.join(home, 'work');
    for (const folder of ['.codex', 'work']) fs.mkdirSync(path.join(home, folder), { recursive: true });
    fs.writeFileSync(path.join(home, '.codex', 'config.toml'), config(url));
    const run = ['exec', '-m', 'fake-1', '-s', 'danger-full-access', '--skip-git-repo-check', question];
    const said = await agent(process.execPath, [command('@openai/codex', 'codex'), ...run], {
      env: { HOME: home, ...otel },
      cwd,
    });
    assert.match(said, new RegExp(answer));
  }),
);
