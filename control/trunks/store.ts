import type { Database } from '../lib/database.ts';
import type { Secrets } from '../lib/secrets.ts';
import type { Trunk } from './schema.ts';

interface Row {
  id: string;
  customer_id: string | null;
  name: string;
  gateway_name: string;
  proxy: string;
  port: number | null;
  transport: Trunk['transport'];
  username: string | null;
  password: string | null;
  realm: string | null;
  from_domain: string | null;
  inbound_ip: string | null;
  country: string | null;
  register: number | boolean;
  priority: number;
  weight: number;
  number_format: Trunk['numberFormat'];
  caller_id: Trunk['callerId'];
  caller_id_number: string | null;
  max_cps: number | null;
  max_concurrent: number | null;
  retry_on_404: number | boolean;
  probe: number | boolean;
  is_active: number | boolean;
  status: Trunk['status'];
  created_at: Date;
  updated_at: Date;
}

export class TrunkStore {
  readonly #db: Database;
  readonly #secrets: Secrets;

  constructor(db: Database, secrets: Secrets) {
    this.#db = db;
    this.#secrets = secrets;
  }

  async loadAll(): Promise<Trunk[]> {
    return (await this.#db<Row>('trunks')).map((row) => this.#toTrunk(row));
  }

  async get(id: string): Promise<Trunk | undefined> {
    const row = await this.#db<Row>('trunks').where({ id }).first();
    return row && this.#toTrunk(row);
  }

  /** Newest first; `before` is the id the page starts after. */
  async list(filter: { customerId?: string }, limit: number, before?: string): Promise<Trunk[]> {
    const query = this.#db<Row>('trunks').orderBy('id', 'desc').limit(limit);
    if (filter.customerId !== undefined) void query.where({ customer_id: filter.customerId });
    if (before !== undefined) void query.where('id', '<', before);
    return (await query).map((row) => this.#toTrunk(row));
  }

  /**
   * @throws the database's duplicate-key error when gateway_name or inbound_ip exists, see
   *   lib/duplicate-key.ts
   */
  async insert(trunk: Trunk): Promise<void> {
    await this.#db<Row>('trunks').insert(this.#toRow(trunk));
  }

  /**
   * Applies `change` to the stored trunk, with the row locked in between; what `change` throws leaves it as
   * it was.
   * @throws as insert
   */
  async update(id: string, change: (trunk: Trunk) => Trunk): Promise<Trunk | undefined> {
    return this.#db.transaction(async (tx) => {
      const row = await tx<Row>('trunks').where({ id }).forUpdate().first();
      if (!row) return undefined;
      const changed = change(this.#toTrunk(row));
      await tx<Row>('trunks').where({ id }).update(this.#toRow(changed));
      return changed;
    });
  }

  /**
   * Notes whether the carrier is there.
   * @returns false where that was known already: several processes look.
   */
  async setStatus(id: string, status: Trunk['status']): Promise<boolean> {
    return (await this.#db<Row>('trunks').where({ id }).whereNot({ status }).update({ status })) > 0;
  }

  async delete(id: string): Promise<boolean> {
    return (await this.#db<Row>('trunks').where({ id }).delete()) > 0;
  }

  #toRow(trunk: Trunk): Row {
    return {
      id: trunk.id,
      customer_id: trunk.customerId ?? null,
      name: trunk.name,
      gateway_name: trunk.gatewayName,
      proxy: trunk.proxy,
      port: trunk.port ?? null,
      transport: trunk.transport,
      username: trunk.username ?? null,
      password:
        trunk.password === undefined ? null : this.#secrets.encrypt(trunk.password, contextOf(trunk.id)),
      realm: trunk.realm ?? null,
      from_domain: trunk.fromDomain ?? null,
      inbound_ip: trunk.inboundIp ?? null,
      country: trunk.country ?? null,
      register: trunk.register,
      priority: trunk.priority,
      weight: trunk.weight,
      number_format: trunk.numberFormat,
      caller_id: trunk.callerId,
      caller_id_number: trunk.callerIdNumber ?? null,
      max_cps: trunk.maxCps ?? null,
      max_concurrent: trunk.maxConcurrent ?? null,
      retry_on_404: trunk.retryOn404,
      probe: trunk.probe,
      is_active: trunk.isActive,
      status: trunk.status,
      created_at: trunk.createdAt,
      updated_at: trunk.updatedAt,
    };
  }

  #toTrunk(row: Row): Trunk {
    const secrets = this.#secrets;
    let password: string | undefined;
    return {
      id: row.id,
      customerId: row.customer_id ?? undefined,
      name: row.name,
      gatewayName: row.gateway_name,
      proxy: row.proxy,
      port: row.port ?? undefined,
      transport: row.transport,
      username: row.username ?? undefined,
      get password() {
        if (row.password === null) return undefined;
        return (password ??= secrets.decrypt(row.password, contextOf(row.id)));
      },
      realm: row.realm ?? undefined,
      fromDomain: row.from_domain ?? undefined,
      inboundIp: row.inbound_ip ?? undefined,
      country: row.country ?? undefined,
      register: Boolean(row.register),
      priority: row.priority,
      weight: row.weight,
      numberFormat: row.number_format,
      callerId: row.caller_id,
      callerIdNumber: row.caller_id_number ?? undefined,
      maxCps: row.max_cps ?? undefined,
      maxConcurrent: row.max_concurrent ?? undefined,
      retryOn404: Boolean(row.retry_on_404),
      probe: Boolean(row.probe),
      isActive: Boolean(row.is_active),
      status: row.status,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
    };
  }
}

const contextOf = (id: string): string => `${id}.password`;
