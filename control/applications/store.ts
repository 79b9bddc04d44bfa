import type { Database } from '../lib/database.ts';
import type { Secrets } from '../lib/secrets.ts';
import type { Application } from './schema.ts';

interface Row {
  id: string;
  customer_id: string;
  name: string;
  answer_url: string | null;
  answer_method: Application['answerMethod'];
  fallback_url: string | null;
  webhook_url: string | null;
  webhook_secret: string | null;
  previous_webhook_secret: string | null;
  previous_webhook_secret_until: Date | null;
  webhook_disabled_at: Date | null;
  webhook_disabled_reason: string | null;
  max_cps: number | null;
  max_concurrent: number | null;
  status: Application['status'];
  created_at: Date;
  updated_at: Date;
}

interface KeyRow {
  key_hash: string;
  application_id: string;
  created_at: Date;
  expires_at: Date | null;
}

/** What the API may change of an application; a field that is left out stays. */
export type ApplicationChange = Partial<
  Pick<
    Application,
    | 'name'
    | 'answerUrl'
    | 'answerMethod'
    | 'fallbackUrl'
    | 'webhookUrl'
    | 'maxCps'
    | 'maxConcurrent'
    | 'status'
  >
>;

/** Whom an API key stands for. */
export interface KeyOwner {
  applicationId: string;
  applicationStatus: Application['status'];
  customerId: string;
  customerStatus: 'active' | 'suspended';
  /** When the key stops working, of a key that was rotated away. */
  expiresAt: Date | undefined;
}

export class ApplicationStore {
  readonly #db: Database;
  readonly #secrets: Secrets;
  readonly #now: () => Date;

  constructor(db: Database, secrets: Secrets, now: () => Date = () => new Date()) {
    this.#db = db;
    this.#secrets = secrets;
    this.#now = now;
  }

  async loadAll(): Promise<Application[]> {
    return (await this.#db<Row>('applications')).map((row) => this.#toApplication(row));
  }

  async get(id: string): Promise<Application | undefined> {
    const row = await this.#db<Row>('applications').where({ id }).first();
    return row && this.#toApplication(row);
  }

  /** Newest first; `before` is the id the page starts after. */
  async list(customerId: string, limit: number, before?: string): Promise<Application[]> {
    const query = this.#db<Row>('applications')
      .where({ customer_id: customerId })
      .orderBy('id', 'desc')
      .limit(limit);
    if (before !== undefined) void query.where('id', '<', before);
    return (await query).map((row) => this.#toApplication(row));
  }

  /** Stores a new application together with its first key. */
  async insert(
    application: Omit<Application, 'webhookSecrets' | 'webhookDisabled'>,
    webhookSecret: string | undefined,
    keyHash: string,
  ): Promise<void> {
    await this.#db.transaction(async (tx) => {
      await tx<Row>('applications').insert({
        id: application.id,
        customer_id: application.customerId,
        name: application.name,
        answer_url: application.answerUrl ?? null,
        answer_method: application.answerMethod,
        fallback_url: application.fallbackUrl ?? null,
        webhook_url: application.webhookUrl ?? null,
        webhook_secret: this.#seal(application.id, webhookSecret),
        max_cps: application.maxCps ?? null,
        max_concurrent: application.maxConcurrent ?? null,
        status: application.status,
        created_at: application.createdAt,
        updated_at: application.updatedAt,
      });
      await tx<KeyRow>('api_keys').insert({
        key_hash: keyHash,
        application_id: application.id,
        created_at: application.createdAt,
      });
    });
  }

  /**
   * @param webhookSecret replaces the secret at once (null: no more signatures), the previous one included;
   *   undefined leaves both.
   */
  async update(id: string, change: ApplicationChange, webhookSecret?: string | null): Promise<void> {
    const row: Partial<Row> = { updated_at: this.#now() };
    if (change.name !== undefined) row.name = change.name;
    if (change.answerMethod !== undefined) row.answer_method = change.answerMethod;
    if (change.status !== undefined) row.status = change.status;
    if ('answerUrl' in change) row.answer_url = change.answerUrl ?? null;
    if ('fallbackUrl' in change) row.fallback_url = change.fallbackUrl ?? null;
    if ('webhookUrl' in change) {
      row.webhook_url = change.webhookUrl ?? null;
      row.webhook_disabled_at = null;
      row.webhook_disabled_reason = null;
    }
    if ('maxCps' in change) row.max_cps = change.maxCps ?? null;
    if ('maxConcurrent' in change) row.max_concurrent = change.maxConcurrent ?? null;
    if (webhookSecret !== undefined) {
      row.webhook_secret = this.#seal(id, webhookSecret);
      row.previous_webhook_secret = null;
      row.previous_webhook_secret_until = null;
    }
    await this.#db<Row>('applications').where({ id }).update(row);
  }

  /**
   * Stops what is sent to this address, if it still is the application's. Returns whether that changed
   * anything.
   */
  async disableWebhook(id: string, url: string, reason: string): Promise<boolean> {
    return (
      (await this.#db<Row>('applications')
        .where({ id, webhook_url: url })
        .whereNull('webhook_disabled_at')
        .update({ webhook_disabled_at: this.#now(), webhook_disabled_reason: reason })) > 0
    );
  }

  async enableWebhook(id: string): Promise<void> {
    await this.#db<Row>('applications')
      .where({ id })
      .update({ webhook_disabled_at: null, webhook_disabled_reason: null });
  }

  /** Makes `secret` the current one; the one before it keeps signing until `until`. */
  async rotateWebhookSecret(id: string, secret: string, until: Date): Promise<void> {
    await this.#db.transaction(async (tx) => {
      const row = await tx<Row>('applications').where({ id }).forUpdate().first('webhook_secret');
      await tx<Row>('applications')
        .where({ id })
        .update({
          webhook_secret: this.#seal(id, secret),
          previous_webhook_secret: row?.webhook_secret ?? null,
          previous_webhook_secret_until: until,
          updated_at: this.#now(),
        });
    });
  }

  /**
   * Adds a key; the others of the application stop working at `othersUntil`, or earlier where they already
   * would.
   */
  async rotateKey(id: string, keyHash: string, othersUntil: Date): Promise<void> {
    const now = this.#now();
    await this.#db.transaction(async (tx) => {
      // Rotations of one application wait for each other, so that two at once leave one key without an end,
      // not two.
      await tx<Row>('applications').where({ id }).forUpdate().first('id');
      await tx<KeyRow>('api_keys').where({ application_id: id }).where('expires_at', '<=', now).delete();
      await tx<KeyRow>('api_keys')
        .where({ application_id: id })
        .where((old) => void old.whereNull('expires_at').orWhere('expires_at', '>', othersUntil))
        .update({ expires_at: othersUntil });
      await tx<KeyRow>('api_keys').insert({ key_hash: keyHash, application_id: id, created_at: now });
    });
  }

  /** @param keyHash SHA-256 of the key, in hex */
  async findKey(keyHash: string): Promise<KeyOwner | undefined> {
    const row:
      | {
          id: string;
          status: Application['status'];
          customer_id: string;
          customer_status: KeyOwner['customerStatus'];
          expires_at: Date | null;
        }
      | undefined = await this.#db('api_keys')
      .join('applications', 'applications.id', 'api_keys.application_id')
      .join('customers', 'customers.id', 'applications.customer_id')
      .where('api_keys.key_hash', keyHash)
      .first(
        'applications.id',
        'applications.status',
        'applications.customer_id',
        'customers.status as customer_status',
        'api_keys.expires_at',
      );
    return (
      row && {
        applicationId: row.id,
        applicationStatus: row.status,
        customerId: row.customer_id,
        customerStatus: row.customer_status,
        expiresAt: row.expires_at ?? undefined,
      }
    );
  }

  #seal(id: string, secret: string | null | undefined): string | null {
    return secret === null || secret === undefined ? null : this.#secrets.encrypt(secret, contextOf(id));
  }

  #toApplication(row: Row): Application {
    const open = (sealed: string): string => this.#secrets.decrypt(sealed, contextOf(row.id));
    const now = this.#now;
    let current: string | undefined;
    let previous: string | undefined;
    return {
      id: row.id,
      customerId: row.customer_id,
      name: row.name,
      answerUrl: row.answer_url ?? undefined,
      answerMethod: row.answer_method,
      fallbackUrl: row.fallback_url ?? undefined,
      webhookUrl: row.webhook_url ?? undefined,
      get webhookSecrets() {
        if (row.webhook_secret === null) return [];
        current ??= open(row.webhook_secret);
        const until = row.previous_webhook_secret_until;
        if (row.previous_webhook_secret === null || until === null || until <= now()) return [current];
        previous ??= open(row.previous_webhook_secret);
        return [current, previous];
      },
      maxCps: row.max_cps ?? undefined,
      maxConcurrent: row.max_concurrent ?? undefined,
      webhookDisabled:
        row.webhook_disabled_at === null
          ? undefined
          : { at: row.webhook_disabled_at, reason: row.webhook_disabled_reason ?? '' },
      status: row.status,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
    };
  }
}

/**
 * The current and the previous secret share a context, because a rotation moves the one to the other's place.
 */
const contextOf = (id: string): string => `${id}.webhook_secret`;
