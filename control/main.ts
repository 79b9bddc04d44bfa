import { createApp } from './app.ts';
import { misspelt, readConfig, type Config } from './config.ts';
import { createLogger } from './lib/logger.ts';

/**
 * Calls in progress survive the end of this process; what is waited for is the work that would otherwise be
 * redone. Docker waits for longer: `stop_grace_period` in docker-compose.yml.
 */
const DRAIN_MS = 10_000;

/** A configuration that is not valid is told in lines of plain text, without a stack. */
function configOrExit(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    console.error((error as Error).message);
    process.exit(1);
  }
}

const config = configOrExit();
const logger = createLogger(config.LOG_LEVEL);
for (const { name, meant } of misspelt(process.env))
  logger.warn({ variable: name }, `nothing reads the environment variable ${name}: did you mean ${meant}?`);
const app = createApp(config, logger);

let stopping = false;
const stop = (signal: string): void => {
  if (stopping) return;
  stopping = true;
  logger.info({ signal }, 'stopping');
  app.stop(DRAIN_MS).then(
    () => process.exit(0),
    (error: unknown) => {
      logger.error({ err: error }, 'could not stop in order');
      process.exit(1);
    },
  );
};
process.on('SIGTERM', () => stop('SIGTERM'));
process.on('SIGINT', () => stop('SIGINT'));
process.on('unhandledRejection', (error) =>
  logger.error({ err: error }, 'a promise was rejected and nobody listened'),
);
process.on('uncaughtException', (error) => {
  // The state of this process is not known any more. Its calls go on; the next life takes them over.
  logger.fatal({ err: error }, 'an error was not caught; leaving');
  process.exit(1);
});

app.start().then(
  () =>
    logger.info(
      { http: `${config.HTTP_HOST}:${config.HTTP_PORT}`, edge: `${config.EDGE_HOST}:${config.EDGE_PORT}` },
      'ready',
    ),
  (error: unknown) => {
    logger.fatal({ err: error }, 'could not start');
    process.exit(1);
  },
);
