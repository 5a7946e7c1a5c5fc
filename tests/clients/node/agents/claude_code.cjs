// Claude Code in its print mode. `spans` turns its traces on as well, which are a beta.

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const {
  agent,
  answer,
  command,
  commands,
  main,
  otel,
  plainHeaders,
  question,
  withModel,
} = require('./coding_agent.cjs');

const bash = (id, cmd, description) => ({
  type: 'tool_use',
  id: `toolu_${id}`,
  name: 'Bash',
  input: { command: cmd, description },
});
const text = (said) => ({ type: 'text', text: said });
const thinking = { type: 'thinking', thinking: 'Both are needed.', signature: 'c2lnbmVk' };

/** A content block as it is streamed: empty, its content, its end. */
const block = (content, index) => {
  const start = { ...content };
  let delta;
  if (content.type === 'text') [start.text, delta] = ['', { type: 'text_delta', text: content.text }];
  if (content.type === 'thinking') {
    [start.thinking, start.signature, delta] = ['', '', { type: 'thinking_delta', thinking: content.thinking }];
  }
  if (content.type === 'tool_use')
    [start.input, delta] = [{}, { type: 'input_json_delta', partial_json: JSON.stringify(content.input) }];
  const signed = content.signature && { type: 'signature_delta', signature: content.signature };
  return [
    { type: 'content_block_start', index, content_block: start },
    { type: 'content_block_delta', index, delta },
    ...(signed ? [{ type: 'content_block_delta', index, delta: signed }] : []),
    { type: 'content_block_stop', index },
  ];
};

const answered = (id, model, content, stop, [input, output, read, created]) => {
  const usage = {
    input_tokens: input,
    output_tokens: output,
    cache_read_input_tokens: read,
    cache_creation_input_tokens: created,
  };
  const message = {
    id,
    type: 'message',
    role: 'assistant',
    model,
    content,
    stop_reason: stop,
    stop_sequence: null,
    usage,
  };
  const stream = [
    {
      type: 'message_start',
      message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
    },
    ...content.flatMap(block),
    { type: 'message_delta', delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: output } },
    { type: 'message_stop' },
  ];
  return { message, stream };
};

// The second call fails once, and is made again.
const failures = [true];

const reply = (url, request, method) => {
  if (url.includes('/count_tokens')) return [200, { input_tokens: 25 }];
  if (method !== 'POST' || !url.startsWith('/v1/messages'))
    return [404, { type: 'error', error: { type: 'not_found_error', message: url } }];
  if (request.model === 'broken-1')
    return [400, { type: 'error', error: { type: 'invalid_request_error', message: 'The model is on fire.' } }];
  const model = `${request.model}-2026-01-01`;
  const results = request.messages.flatMap(({ content }) => content).filter((part) => part.type === 'tool_result');
  const agentic = (request.tools ?? []).some(({ name }) => name === 'Bash');
  let made;
  if (!agentic) made = answered('msg_side', model, [text('Weather and tide')], 'end_turn', [5, 3, 0, 0]);
  else if (results.length === 0) {
    const asked = [
      thinking,
      text('Let me look.'),
      bash('01Qz8sT1Jv0hYbWcLrKd4nXe', commands.weather, 'Say the weather'),
      bash('01Lr4nXe7WcKd2Qz8sT1Jv0h', commands.tide, 'Say the tide'),
      bash('01Wc8sT1Jv0hYbQzLrKd4nXe', 'touch notes', 'Take notes'), // which nobody allows
    ];
    made = answered('msg_1', model, asked, 'tool_use', [25, 70, 1000, 200]);
  } else if (failures.shift())
    return [529, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }];
  else made = answered('msg_2', model, [text(answer)], 'end_turn', [40, 9, 1200, 0]);
  return [200, request.stream ? made.stream : made.message];
};

main(() =>
  withModel(reply, async (url, home) => {
    const cwd = path.join(home, 'work');
    fs.mkdirSync(cwd, { recursive: true });
    const env = {
      HOME: home,
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_API_KEY: 'none',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      CLAUDE_CODE_ENABLE_TELEMETRY: '1',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      ...otel,
      ...plainHeaders,
      OTEL_LOGS_EXPORTER: 'otlp',
      OTEL_LOG_USER_PROMPTS: '1',
      OTEL_LOG_TOOL_DETAILS: '1',
      ...(process.argv[2] === 'spans' && {
        CLAUDE_CODE_ENHANCED_TELEMETRY_BETA: '1',
        OTEL_TRACES_EXPORTER: 'otlp',
        OTEL_LOG_TOOL_CONTENT: '1',
      }),
    };
    const ask = (model, code) => {
      const run = ['-p', '--model', model, '--allowedTools', 'Bash(echo:*)', 'Bash(cat:*)', '--output-format', 'json'];
      return agent(command('@anthropic-ai/claude-code', 'claude'), [...run, '--', question], { env, cwd, code });
    };
    assert.match(await ask('fake-1', 0), new RegExp(answer));
    assert.match(await ask('broken-1', 1), /on fire/);
  }),
);
