import { z } from 'zod';
import { displayName } from '../http/fields.ts';
import { rfc3339 } from '../lib/time.ts';
import type { Health } from '../webhooks/health.ts';
import { healthReply } from '../webhooks/schema.ts';

/** What drives and hears about calls: the URLs of one program of a customer. */
export interface Application {
  readonly id: string;
  readonly customerId: string;
  readonly name: string;
  readonly answerUrl: string | undefined;
  readonly answerMethod: 'GET' | 'POST';
  readonly fallbackUrl: string | undefined;
  readonly webhookUrl: string | undefined;
  /**
   * Every secret that signs right now, the current one first, then the previous one while it is still valid;
   * empty where deliveries are not signed. Decrypted when first read: read it when signing, and do not copy
   * it.
   */
  readonly webhookSecrets: readonly string[];
  /** Limits of its outbound calls, inside those of its customer; undefined: none of its own. */
  readonly maxCps: number | undefined;
  readonly maxConcurrent: number | undefined;
  /** Since when nothing is sent to the webhook any more: it has answered 410. */
  readonly webhookDisabled: { readonly at: Date; readonly reason: string } | undefined;
  readonly status: 'active' | 'disabled';
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

const name = displayName;
// Which URLs can be asked depends on the profile: the service checks that.
const url = z.string().min(1).max(2048).meta({ format: 'uri' });
const answerUrl = url.describe('asked what a call shall do');
const fallbackUrl = url.describe('asked once where the answer_url gave no valid reply');
const webhookUrl = url.describe('gets every event by POST');
const answerMethod = z.enum(['GET', 'POST']).describe('how the answer_url and the fallback_url are asked');
const status = z.enum(['active', 'disabled']);
const webhookSecret = z
  .string()
  .min(8)
  .max(256)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
  .describe('signs what is sent to the URLs of the application; never shown again');

// An application can only ever use what its customer may, so its own limits are the customer's to set.
const maxCps = z
  .int()
  .min(1)
  .max(10_000)
  .describe('outbound calls per second of this application, inside the limit of the customer');
const maxConcurrent = z
  .int()
  .min(1)
  .max(100_000)
  .describe('outbound calls at a time of this application, inside the limit of the customer');

export const applicationCreate = z
  .strictObject({
    name,
    answer_url: answerUrl.optional(),
    answer_method: answerMethod.default('GET'),
    fallback_url: fallbackUrl.optional(),
    webhook_url: webhookUrl.optional(),
    webhook_secret: webhookSecret.optional(),
    max_cps: maxCps.optional(),
    max_concurrent: maxConcurrent.optional(),
  })
  .meta({ id: 'ApplicationCreate' });

/** null takes an optional field away. */
export const applicationPatch = z
  .strictObject({
    name,
    answer_url: answerUrl.nullable(),
    answer_method: answerMethod,
    fallback_url: fallbackUrl.nullable(),
    webhook_url: webhookUrl.nullable(),
    webhook_secret: webhookSecret.nullable(),
    max_cps: maxCps.nullable(),
    max_concurrent: maxConcurrent.nullable(),
    status,
  })
  .partial()
  .meta({ id: 'ApplicationPatch' });

export const rotateKey = z
  .strictObject({
    grace_seconds: z.int().min(0).max(86_400).default(0).describe('how long the old key goes on working'),
  })
  .meta({ id: 'RotateKey' });

export const rotateWebhookSecret = z
  .strictObject({
    webhook_secret: webhookSecret
      .optional()
      .describe('generated when left out, and then shown in this reply only'),
  })
  .meta({ id: 'RotateWebhookSecret' });

export const applicationReply = z
  .strictObject({
    id: z.string(),
    customer_id: z.string(),
    name: z.string(),
    answer_url: z.string().optional(),
    answer_method: answerMethod,
    fallback_url: z.string().optional(),
    webhook_url: z.string().optional(),
    webhook_health: healthReply.optional().describe('where there is a webhook_url'),
    max_cps: maxCps.optional(),
    max_concurrent: maxConcurrent.optional(),
    status,
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Application' });

export const applicationWithKeyReply = applicationReply
  .extend({
    api_key: z.string().describe('shown in this reply only'),
  })
  .meta({ id: 'ApplicationWithKey' });

export const applicationWithSecretReply = applicationReply
  .extend({
    webhook_secret: z.string().optional().describe('present when it was generated; shown in this reply only'),
  })
  .meta({ id: 'ApplicationWithSecret' });

export const toJson = (application: Application, health?: Health): z.input<typeof applicationReply> => ({
  id: application.id,
  customer_id: application.customerId,
  name: application.name,
  answer_url: application.answerUrl,
  answer_method: application.answerMethod,
  fallback_url: application.fallbackUrl,
  webhook_url: application.webhookUrl,
  webhook_health: application.webhookUrl === undefined ? undefined : healthToJson(application, health),
  max_cps: application.maxCps,
  max_concurrent: application.maxConcurrent,
  status: application.status,
  created_at: rfc3339(application.createdAt),
  updated_at: rfc3339(application.updatedAt),
});

const healthToJson = (
  { webhookDisabled }: Application,
  health: Health | undefined,
): z.input<typeof healthReply> => ({
  state: webhookDisabled ? 'disabled' : health && health.consecutiveFailures > 0 ? 'failing' : 'active',
  consecutive_failures: health?.consecutiveFailures ?? 0,
  last_success_at: health?.lastSuccessAt && rfc3339(health.lastSuccessAt),
  last_failure_at: health?.lastFailureAt && rfc3339(health.lastFailureAt),
  last_error: health?.lastError,
  disabled_at: webhookDisabled && rfc3339(webhookDisabled.at),
  disabled_reason: webhookDisabled?.reason,
});
