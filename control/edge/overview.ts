import { z } from 'zod';
import { endpoint, type Endpoint } from '../http/endpoint.ts';
import { rfc3339 } from '../lib/time.ts';
import type { MediaNodeStatus } from '../media/media.ts';
import type { KamailioRpc } from './kamailio-rpc.ts';

interface Options {
  kamailios: readonly { rpc: Pick<KamailioRpc, 'url' | 'call'>; synced: () => boolean }[];
  rtpengines: () => Promise<
    { address: string; sessions?: number | undefined; uptimeSeconds?: number | undefined }[]
  >;
  mediaNodes: () => MediaNodeStatus[];
  now?: () => Date;
}

const since = z.iso.datetime().optional().describe('when it was started, RFC 3339');

const edgeReply = z
  .strictObject({
    kamailio: z.array(
      z.strictObject({
        name: z.string().describe('the address of its JSON-RPC'),
        healthy: z.boolean().describe('it answers'),
        synced: z.boolean().describe('it has its tables, as far as this control process knows'),
        version: z.string().optional(),
        started_at: since,
        calls: z.int().optional().describe('dialogs since it was started, ringing or answered'),
      }),
    ),
    rtpengine: z.array(
      z.strictObject({
        name: z.string().describe('the address of its control port'),
        healthy: z.boolean(),
        started_at: since,
        calls: z.int().optional().describe('calls whose audio goes through it'),
      }),
    ),
    media: z.array(
      z.strictObject({
        name: z.string().describe('the address of its SIP, as Kamailio knows it'),
        healthy: z.boolean().describe('its event socket is connected'),
        calls: z.int().describe('channels on it'),
      }),
    ),
  })
  .meta({ id: 'Edge' });

type Kamailio = z.input<typeof edgeReply>['kamailio'][number];

const Uptime = z.object({ uptime: z.number() });
const Dialogs = z.object({ all: z.number() });

/** What runs at the edge, asked when it is asked for: each part with its health, its age and its load. */
export const edgeRoutes = ({
  kamailios,
  rtpengines,
  mediaNodes,
  now = () => new Date(),
}: Options): Endpoint[] => {
  const startedAt = (uptimeSeconds: number): string =>
    rfc3339(new Date(now().getTime() - uptimeSeconds * 1000));

  async function look({ rpc, synced }: Options['kamailios'][number]): Promise<Kamailio> {
    try {
      const [version, uptime, dialogs] = await Promise.all([
        rpc.call('core.version'),
        rpc.call('core.uptime'),
        rpc.call('dlg.stats_active'),
      ]);
      return {
        name: rpc.url,
        healthy: true,
        synced: synced(),
        version: /\d+\.\d+\.\d+/.exec(String(version))?.[0],
        started_at: startedAt(Uptime.parse(uptime).uptime),
        calls: Dialogs.parse(dialogs).all,
      };
    } catch {
      return { name: rpc.url, healthy: false, synced: synced() };
    }
  }

  return [
    endpoint({
      method: 'get',
      path: '/admin/v1/edge',
      auth: 'operator',
      tag: 'Operator: edge',
      summary: 'What runs at the edge, its health and its load',
      description: 'Each Kamailio and rtpengine is asked now; one that does not answer is not healthy.',
      status: 200,
      reply: edgeReply,
      handle: async () => {
        const [kamailio, engines] = await Promise.all([Promise.all(kamailios.map(look)), rtpengines()]);
        return {
          kamailio,
          rtpengine: engines.map(({ address, sessions, uptimeSeconds }) => ({
            name: address,
            healthy: sessions !== undefined,
            calls: sessions,
            started_at: uptimeSeconds === undefined ? undefined : startedAt(uptimeSeconds),
          })),
          media: mediaNodes().map(({ name, connected, channels }) => ({
            name,
            healthy: connected,
            calls: channels,
          })),
        };
      },
    }),
  ];
};
