/**
 * The embedded media node: SIP, audio and the event socket in one small program, for laptops and CI, where
 * there is no FreeSWITCH. Towards Kamailio and the control plane it behaves as FreeSWITCH 1.10.12 with the
 * configuration beside it does; `config.ts` lists its environment.
 */
import { createLogger } from '../../control/lib/logger.ts';
import { readConfig } from './config.ts';
import { MediaNode } from './media-node.ts';

const config = readConfig(process.env);
const log = createLogger(config.logLevel);
const node = new MediaNode(config, log);

let leaving = false;
function leave(): void {
  if (leaving) return;
  leaving = true;
  node.stop().then(
    () => process.exit(0),
    (error: unknown) => {
      log.error({ err: error }, 'shutdown failed');
      process.exit(1);
    },
  );
}
process.on('SIGTERM', leave);
process.on('SIGINT', leave);
node.onShutdownRequested = leave;

node.start().catch((error: unknown) => {
  log.fatal({ err: error }, 'embedded media node cannot start');
  process.exit(1);
});
