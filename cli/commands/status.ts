import { defaultHome } from '../home.ts';
import { Instance } from '../instance.ts';
import type { Status } from '../supervisor/protocol.ts';

/** The shape scripts rely on; fields beyond it say more, and none is taken away. */
export function statusJson(status: Status) {
  const { api, admin_token, sip, media } = status.coordinates;
  return {
    api,
    admin_token,
    sip,
    media,
    metrics: `${status.coordinates.edge}/metrics`,
    state: status.state,
    components: status.components,
  };
}

function table(status: Status): string {
  const rows = status.components.map((part) => {
    const health = part.healthy ? 'healthy' : `${part.state}${part.problem ? `: ${part.problem}` : ''}`;
    const again =
      part.restarts === 0 ? '' : `  restarted ${part.restarts} time${part.restarts === 1 ? '' : 's'}`;
    return `  ${part.name.padEnd(11)} ${part.title.padEnd(22)} ${part.version.padEnd(10)} ${(part.pid === null ? '–' : `pid ${part.pid}`).padEnd(12)} ${health}${again}`;
  });
  const { api, sip, media } = status.coordinates;
  return [
    `MiniVoice is ${status.state}`,
    `  api   ${api}`,
    `  sip   ${sip}`,
    `  media ${media.kind}`,
    '',
    ...rows,
    '',
    "The operator's token is in ./minivoice status --json.",
  ].join('\n');
}

/** Exits 1 when nothing runs; a part that is down is told, and no error of this command. */
export async function status(args: string[]): Promise<number> {
  const found = await new Instance(defaultHome()).status();
  if (args.includes('--json'))
    console.log(JSON.stringify(found ? statusJson(found) : { state: 'down', components: [] }, null, 2));
  else console.log(found ? table(found) : 'MiniVoice is not running: ./minivoice up starts it.');
  return found ? 0 : 1;
}
