// What the programs of coding agents have in common: a model's API on loopback, a home of its own, and their exit code.

const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');

/** The commands that the scripted model asks for, both at once; the second one fails. */
const commands = { weather: 'echo Sunny in Lisbon, 24 degrees.', tide: 'cat tide-table' };
const question = 'What is the weather in Lisbon, and the tide?';
const answer = 'It is sunny in Lisbon.';

/** Server-sent events, with their type as name if they have one. */
const sse = (events) =>
  events.map((event) => `${event.type ? `event: ${event.type}\n` : ''}data: ${JSON.stringify(event)}\n\n`).join('');

/**
 * Serve while `use(url, home)` runs; `reply(path, request)` is a status and a value, or events. The home is
 * $AGENT_HOME, or a folder that is removed in the end.
 */
const withModel = async (reply, use) => {
  let requests = 0;
  const server = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    if (process.env.AGENT_REQUESTS)
      fs.appendFileSync(process.env.AGENT_REQUESTS, `${request.method} ${request.url} ${body}\n`);
    let value = {};
    try {
      value = JSON.parse(body);
    } catch {
      // A request without a body, or not of the model's API.
    }
    const [status, said] = reply(request.url, value, request.method);
    const streamed = Array.isArray(said);
    requests += 1;
    response.writeHead(status, {
      'Content-Type': streamed ? 'text/event-stream' : 'application/json',
      'request-id': `req_01Xy7Kq2Wv${String(requests).padStart(4, '0')}`,
    });
    response.end(streamed ? sse(said) : JSON.stringify(said));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const kept = process.env.AGENT_HOME;
  const home = kept ?? fs.mkdtempSync(path.join(os.tmpdir(), 'agent-'));
  try {
    await use(`http://127.0.0.1:${server.address().port}`, home);
  } finally {
    server.closeAllConnections();
    server.close();
    if (!kept) fs.rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  }
};

/** The path of a package's command. */
const command = (name, bin) => {
  const manifest = require.resolve(`${name}/package.json`);
  return path.join(path.dirname(manifest), require(manifest).bin[bin]);
};

/** Run a command with nothing of this environment but the path; its exit code has to be `code`. */
const agent = (program, args, { env, cwd, code = 0 }) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { PATH: process.env.PATH, ...env },
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
    child.on('error', reject);
    child.on('close', (is) =>
      is === code ? resolve(said) : reject(new Error(`exit code ${is}, not ${code}:\n${said}`)),
    );
  });

/** The variables of OpenTelemetry that this program was given. */
const otel = Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('OTEL_')));

/** The headers that exports are to have, as `OTEL_EXPORTER_OTLP_HEADERS` names them. */
const headers = Object.fromEntries(
  (otel.OTEL_EXPORTER_OTLP_HEADERS ?? '')
    .split(',')
    .filter(Boolean)
    .map((pair) => [pair.slice(0, pair.indexOf('=')), decodeURIComponent(pair.slice(pair.indexOf('=') + 1))]),
);

/** The same variable for a program that sends the values as they stand, with `%20` and all. */
const plainHeaders =
  Object.keys(headers).length > 0
    ? {
        OTEL_EXPORTER_OTLP_HEADERS: Object.entries(headers)
          .map((pair) => pair.join('='))
          .join(','),
      }
    : {};

const main = (program) =>
  program().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });

module.exports = { agent, answer, command, commands, headers, main, otel, plainHeaders, question, withModel };
