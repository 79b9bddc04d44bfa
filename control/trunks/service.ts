import ipaddr from 'ipaddr.js';
import type { z } from 'zod';
import { invalid } from '../http/endpoint.ts';
import { isAddress, isPublicAddress } from '../lib/addresses.ts';
import type { OnChange } from '../lib/changes.ts';
import { duplicateKey } from '../lib/duplicate-key.ts';
import { ApiError } from '../lib/errors.ts';
import type { Ids } from '../lib/ids.ts';
import { patched } from '../lib/patch.ts';
import { isHost, pointsInside } from '../lib/sip-uri.ts';
import type { Trunk, trunkAdminCreate, trunkPatch } from './schema.ts';
import type { TrunkStore } from './store.ts';

export interface TrunkDependencies {
  store: TrunkStore;
  customerExists(id: string): Promise<boolean>;
  ids: Ids;
  onChange: OnChange;
  /** Whether customers may name private addresses: the development profile. The operator always may. */
  allowPrivate: boolean;
  now?: () => Date;
}

/** Who asks: a customer sees and makes trunks of its own only. */
export type TrunkOwner = { customerId: string } | 'operator';

/** Connections to carriers: the customers' own (BYOC), and the operator's. */
export class TrunkService {
  readonly #deps: TrunkDependencies;
  readonly #now: () => Date;

  constructor(deps: TrunkDependencies) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => new Date());
  }

  /** @throws ApiError `gateway_name_exists`, `inbound_ip_exists`, `invalid_request` */
  async create(by: TrunkOwner, body: z.output<typeof trunkAdminCreate>): Promise<Trunk> {
    const { store, ids, customerExists, onChange } = this.#deps;
    const customerId = by === 'operator' ? body.customer_id : by.customerId;
    if (customerId !== undefined && !(await customerExists(customerId)))
      throw invalid('customer_id', 'is not a known customer');
    this.#checkAddresses(by, body);
    const id = ids.next('trunk');
    const now = this.#now();
    const trunk = checked({
      id,
      customerId,
      name: body.name,
      gatewayName: body.gateway_name ?? id.replace('trunk_', 'gw_'),
      proxy: body.proxy,
      port: body.port,
      transport: body.transport,
      username: body.username,
      password: body.password,
      realm: body.realm,
      fromDomain: body.from_domain,
      inboundIp: canonical(body.inbound_ip),
      country: body.country,
      register: body.register,
      priority: body.priority,
      weight: body.weight,
      numberFormat: body.number_format,
      callerId: body.caller_id,
      callerIdNumber: body.caller_id_number,
      maxCps: body.max_cps,
      maxConcurrent: body.max_concurrent,
      retryOn404: body.retry_on_404,
      probe: body.probe,
      isActive: body.is_active,
      status: 'unknown',
      createdAt: now,
      updatedAt: now,
    });
    await store.insert(trunk).catch(explainDuplicate);
    await onChange({ room: 'trunks', id });
    return trunk;
  }

  list(filter: { customerId?: string }, limit: number, before?: string): Promise<Trunk[]> {
    return this.#deps.store.list(filter, limit, before);
  }

  /** @throws ApiError `not_found` */
  async get(by: TrunkOwner, id: string): Promise<Trunk> {
    return visible(by, await this.#deps.store.get(id));
  }

  /** @throws ApiError `not_found`, `gateway_name_exists`, `inbound_ip_exists`, `invalid_request` */
  async update(by: TrunkOwner, id: string, body: z.output<typeof trunkPatch>): Promise<Trunk> {
    this.#checkAddresses(by, body);
    const change = (stored: Trunk): Trunk =>
      checked({
        ...visible(by, stored),
        name: body.name ?? stored.name,
        gatewayName: body.gateway_name ?? stored.gatewayName,
        proxy: body.proxy ?? stored.proxy,
        port: patched(body.port, stored.port),
        transport: body.transport ?? stored.transport,
        username: patched(body.username, stored.username),
        password: patched(body.password, stored.password),
        realm: patched(body.realm, stored.realm),
        fromDomain: patched(body.from_domain, stored.fromDomain),
        inboundIp: body.inbound_ip ? canonical(body.inbound_ip) : patched(body.inbound_ip, stored.inboundIp),
        country: patched(body.country, stored.country),
        register: body.register ?? stored.register,
        priority: body.priority ?? stored.priority,
        weight: body.weight ?? stored.weight,
        numberFormat: body.number_format ?? stored.numberFormat,
        callerId: body.caller_id ?? stored.callerId,
        callerIdNumber: patched(body.caller_id_number, stored.callerIdNumber),
        maxCps: patched(body.max_cps, stored.maxCps),
        maxConcurrent: patched(body.max_concurrent, stored.maxConcurrent),
        retryOn404: body.retry_on_404 ?? stored.retryOn404,
        probe: body.probe ?? stored.probe,
        isActive: body.is_active ?? stored.isActive,
        updatedAt: this.#now(),
      });
    const changed = await this.#deps.store.update(id, change).catch(explainDuplicate);
    if (!changed) return notFound();
    await this.#deps.onChange({ room: 'trunks', id });
    return changed;
  }

  /** @throws ApiError `not_found` */
  async delete(by: TrunkOwner, id: string): Promise<void> {
    await this.get(by, id);
    if (!(await this.#deps.store.delete(id))) notFound();
    await this.#deps.onChange({ room: 'trunks', id });
  }

  /**
   * What the edge has found out about a carrier. Written only when it is news; then everybody is told as of
   * any change.
   */
  async noteStatus(id: string, status: Trunk['status']): Promise<void> {
    if (await this.#deps.store.setStatus(id, status)) await this.#deps.onChange({ room: 'trunks', id });
  }

  /**
   * What a customer names is reached from our network, and trusted when it calls in: it must not be a part of
   * that network.
   */
  #checkAddresses(
    by: TrunkOwner,
    { proxy, inbound_ip: inboundIp }: { proxy?: string; inbound_ip?: string | null },
  ): void {
    const publicOnly = by !== 'operator' && !this.#deps.allowPrivate;
    if (proxy !== undefined && !isHost(proxy))
      throw invalid('proxy', 'must be a host name or an IP address (IPv6 in brackets)');
    if (publicOnly && proxy !== undefined && pointsInside(proxy))
      throw invalid('proxy', 'must not be a private or local address');
    if (typeof inboundIp !== 'string') return;
    const address = canonical(inboundIp);
    if (address === undefined) throw invalid('inbound_ip', 'must be the IP address of one host');
    if (publicOnly && !isPublicAddress(address))
      throw invalid('inbound_ip', 'must not be a private or local address');
  }
}

/** One notation for each address, because it is compared as text; undefined for what cannot be a host's. */
function canonical(ip: string | undefined): string | undefined {
  if (ip === undefined || !isAddress(ip) || ip.includes('%')) return undefined;
  const address = ipaddr.process(ip);
  return ['unspecified', 'multicast', 'broadcast'].includes(address.range()) ? undefined : address.toString();
}

function checked(trunk: Trunk): Trunk {
  if (trunk.register && trunk.username === undefined)
    throw invalid('username', 'is required when register is true');
  if (trunk.register && trunk.password === undefined)
    throw invalid('password', 'is required when register is true');
  if (trunk.callerId === 'fixed' && trunk.callerIdNumber === undefined)
    throw invalid('caller_id_number', 'is required when caller_id is fixed');
  if (trunk.numberFormat === 'national' && trunk.country === undefined)
    throw invalid('country', 'is required when number_format is national');
  return trunk;
}

function visible(by: TrunkOwner, trunk: Trunk | undefined): Trunk {
  return trunk && (by === 'operator' || trunk.customerId === by.customerId) ? trunk : notFound();
}

function notFound(): never {
  throw new ApiError('not_found', 'trunk not found');
}

function explainDuplicate(error: unknown): never {
  const index = duplicateKey(error);
  if (index?.includes('inbound_ip')) throw new ApiError('inbound_ip_exists');
  if (index?.includes('gateway_name')) throw new ApiError('gateway_name_exists');
  throw error;
}
