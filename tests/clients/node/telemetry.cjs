// OpenTelemetry as a user sets it up: NodeSDK, which reads the standard OTEL_ variables, and an instrumentation.

const { diag, DiagLogLevel } = require('@opentelemetry/api');
const { NodeSDK } = require('@opentelemetry/sdk-node');

// An export that fails is only reported to the diagnostic logger.
const failures = [];
const note = (...words) => failures.push(words.map(String).join(' '));
const ignore = () => {};

/** Run `program` under the instrumentation; exit with 1 if it fails or if anything was not exported. */
exports.run = async (instrumentation, program) => {
  diag.setLogger({ error: note, warn: ignore, info: ignore, debug: ignore, verbose: ignore }, DiagLogLevel.ERROR);
  const sdk = new NodeSDK({ instrumentations: [instrumentation] });
  sdk.start();
  try {
    await program();
  } catch (error) {
    note(error.stack);
  }
  await sdk.shutdown().catch(note);
  for (const failure of failures) console.error(failure);
  process.exitCode = failures.length > 0 ? 1 : 0;
};
