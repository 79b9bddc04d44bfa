import { Resolver } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import { Socket, type LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { isAddress, isLoopbackAddress, isPublicAddress } from './addresses.ts';

/**
 * All addresses of a host name, IPv4 and IPv6. Rejects, or resolves to none, where the name does not resolve.
 */
export type Resolve = (hostname: string) => Promise<string[]>;

/** Where connections may go. */
export interface Guard {
  /** Development profile: loopback is reachable too. No other private range ever is. */
  allowPrivate: boolean;
  resolve: Resolve;
  /** Name look-up, TCP and TLS together, in ms. */
  connectTimeoutMs: number;
  /** Open connections to one host and port; more requests wait for one of them. */
  maxSocketsPerHost: number;
  /** Certificate authorities to trust in place of the well-known ones. */
  ca?: string | undefined;
}

export type RefusalKind = 'forbidden_address' | 'dns' | 'connect_timeout';

/** Why no connection was made. */
export class Refusal extends Error {
  readonly kind: RefusalKind;

  constructor(kind: RefusalKind, message: string) {
    super(message);
    this.name = 'Refusal';
    this.kind = kind;
  }
}

/** Whether a connection may go to this address. */
export const mayReach = (ip: string, allowPrivate: boolean): boolean =>
  isPublicAddress(ip) || (allowPrivate && isLoopbackAddress(ip));

/** `localhost` and all below it (RFC 6761 §6.3), in the form that URLs give host names. */
export const isLocalhost = (hostname: string): boolean => /(^|\.)localhost\.?$/.test(hostname);

/**
 * Asks the name servers directly. The system's own look-up runs on the few threads that also serve files, so
 * one customer's slow name server could hold up everybody.
 */
export function createResolve(): Resolve {
  const resolver = new Resolver({ timeout: 800, tries: 2 });
  return async (hostname) => {
    if (isLocalhost(hostname)) return ['127.0.0.1', '::1'];
    const results = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
    const addresses = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
    const [first] = results;
    if (addresses.length === 0 && first.status === 'rejected') throw first.reason;
    return addresses;
  };
}

/**
 * A look-up that hands out only addresses that may be reached: node connects to just these, so the check
 * cannot be outrun.
 */
export function guardedLookup({
  allowPrivate,
  resolve,
}: Pick<Guard, 'allowPrivate' | 'resolve'>): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const [first] = addresses;
        if (first === undefined)
          return callback(new Refusal('dns', `the name ${hostname} has no address`), '');
        const forbidden = addresses.find((ip) => !mayReach(ip, allowPrivate));
        if (forbidden !== undefined) return callback(forbiddenAddress(hostname, forbidden), '');
        const answers = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
        if (options.all) callback(null, answers);
        else callback(null, first, first.includes(':') ? 6 : 4);
      },
      (error: unknown) =>
        callback(new Refusal('dns', `the name ${hostname} could not be resolved (${codeOf(error)})`), ''),
    );
  };
}

export const forbiddenAddress = (host: string, ip: string): Refusal =>
  new Refusal(
    'forbidden_address',
    host === ip
      ? `the address ${ip} is not a public one`
      : `${host} resolves to ${ip}, which is not a public address`,
  );

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'no answer';

export interface Agents {
  http: http.Agent;
  https: https.Agent;
  /** Ends every connection, used or idle. */
  destroy(): void;
}

type Created = Duplex | null | undefined;
type OnCreated = (error: Error | null, socket: Duplex) => void;

/** Agents whose every connection goes through the guard, whatever the request on it says. */
export function createAgents(guard: Guard): Agents {
  const lookup = guardedLookup(guard);
  // Node looks up names only: a literal address that may not be reached is made a name whose look-up fails.
  const way = (host: string | null | undefined): { host?: string; lookup: LookupFunction } =>
    host && isAddress(host) && !mayReach(host, guard.allowPrivate)
      ? {
          host: 'refused.invalid',
          lookup: (_name, _options, callback) => callback(forbiddenAddress(host, host), ''),
        }
      : { lookup };
  // `timeout` ends idle connections only, before most servers do: a server that closes first costs the next
  // request a reset.
  const limits = {
    keepAlive: true,
    timeout: 3000,
    maxSockets: guard.maxSocketsPerHost,
    maxFreeSockets: guard.maxSocketsPerHost,
    scheduling: 'lifo' as const,
  };

  class GuardedHttpAgent extends http.Agent {
    override createConnection(options: http.ClientRequestArgs, callback?: OnCreated): Created {
      return watched(
        super.createConnection({ ...options, ...way(options.host) }, callback),
        guard,
        'connect',
      );
    }
  }

  class GuardedHttpsAgent extends https.Agent {
    override createConnection(options: https.RequestOptions, callback?: OnCreated): Created {
      return watched(
        super.createConnection({ ...options, ...way(options.host) }, callback),
        guard,
        'secureConnect',
      );
    }
  }

  const agents = {
    http: new GuardedHttpAgent(limits),
    https: new GuardedHttpsAgent({ ...limits, ca: guard.ca }),
  };
  return {
    ...agents,
    destroy: () => {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

/**
 * Bounds the time to connect, and looks once more at where the connection really went before a byte is sent
 * on it.
 */
function watched(socket: Created, guard: Guard, ready: 'connect' | 'secureConnect'): Created {
  if (!(socket instanceof Socket)) return socket;
  const timer = setTimeout(() => {
    socket.destroy(new Refusal('connect_timeout', `no connection within ${guard.connectTimeoutMs} ms`));
  }, guard.connectTimeoutMs);
  const stop = () => clearTimeout(timer);
  socket.once(ready, stop).once('close', stop);
  socket.once('connect', () => {
    const ip = socket.remoteAddress ?? 'unknown';
    if (!mayReach(ip, guard.allowPrivate)) socket.destroy(forbiddenAddress(ip, ip));
  });
  return socket;
}
