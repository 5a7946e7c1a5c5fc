// OpenTelemetry as a user sets it up: NodeSDK, which reads the standard OTEL_ variables, and an instrumentation.

const { diag, DiagLogLevel } = require('@opentelemetry/api');
const { NodeSDK } = require('@opentelemetry/sdk-node');

// An export that fails is only reported to the diagnostic logger.
const failures = [];
const note = (...words) => failures.push(words.map(String).join(' '));
const ignore = () => {};

/** Run `program`, which sends what it has by itself; exit with 1 if it fails or if anything was not exported. */
exports.watched = async (program) => {
  diag.setLogger({ error: note, warn: ignore, info: ignore, debug: ignore, verbose: ignore }, DiagLogLevel.ERROR);
  try {
    await program();
  } catch (error) {
    note(error.stack);
  }
  for (const failure of failures) console.error(failure);
  process.exitCode = failures.length > 0 ? 1 : 0;
};

/** Run `program` under the instrumentation; exit with 1 if it fails or if anything was not exported. */
exports.run = (instrumentation, program) =>
  exports.watched(async () => {
    const sdk = new NodeSDK({ instrumentations: [instrumentation] });
    sdk.start();
    try {
      await program();
    } finally {
      await sdk.shutdown().catch(note);
    }
  });
