import { z } from 'zod';
import { idField } from '../http/endpoint.ts';
import { displayName, e164, isVisible } from '../http/fields.ts';
import { rfc3339 } from '../lib/time.ts';

/** A connection to a carrier. Without a customer it is the operator's own, usable by all. */
export interface Trunk {
  readonly id: string;
  readonly customerId: string | undefined;
  readonly name: string;
  readonly gatewayName: string;
  readonly proxy: string;
  readonly port: number | undefined;
  readonly transport: 'udp' | 'tcp' | 'tls';
  readonly username: string | undefined;
  /** Decrypted when first read. */
  readonly password: string | undefined;
  readonly realm: string | undefined;
  readonly fromDomain: string | undefined;
  /** Source of this carrier's inbound calls, in canonical form (IPv6 as RFC 5952 writes it). */
  readonly inboundIp: string | undefined;
  /** ISO 3166-1 alpha-2; numbers in national format are read by it. */
  readonly country: string | undefined;
  readonly register: boolean;
  /** Lower is tried first; weight shares the load among equals. */
  readonly priority: number;
  readonly weight: number;
  readonly numberFormat: 'e164' | 'plus_less' | 'national';
  readonly callerId: 'passthrough' | 'did' | 'fixed';
  readonly callerIdNumber: string | undefined;
  readonly maxCps: number | undefined;
  readonly maxConcurrent: number | undefined;
  /** Whether a 404 of this carrier's means that the next one is worth a try. */
  readonly retryOn404: boolean;
  /** Whether it is asked by OPTIONS if it is there. */
  readonly probe: boolean;
  readonly isActive: boolean;
  readonly status: 'up' | 'down' | 'unknown';
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export const direction = (trunk: Pick<Trunk, 'inboundIp'>): 'outbound' | 'both' =>
  trunk.inboundIp === undefined ? 'outbound' : 'both';

const text = (max: number) => z.string().min(1).max(max);
const noBreaks = (max: number) =>
  z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(max)
    .regex(
      /^[^\x00-\x1f\x7f-\x9f"\\<>]+$/,
      'must not hold control characters, quotes, backslashes or angle brackets',
    )
    .refine(isVisible, 'must not be empty');
const domain = z
  .string()
  .max(253)
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/, 'must be a host name or an IPv4 address');

const fields = {
  name: displayName,
  gateway_name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,100}$/, 'must be 1 to 100 letters, digits, dots, dashes or underscores'),
  proxy: z.string().min(1).max(255),
  port: z.int().min(1).max(65_535),
  transport: z.enum(['udp', 'tcp', 'tls']),
  username: noBreaks(255),
  password: text(255).regex(/^[^\x00-\x1f\x7f-\x9f]+$/, 'must not hold control characters'),
  realm: noBreaks(255),
  from_domain: domain,
  inbound_ip: z.string().min(1).max(45),
  country: z.string().regex(/^[A-Z]{2}$/, 'must be an ISO 3166-1 alpha-2 code such as BG'),
  register: z.boolean(),
  priority: z.int().min(0).max(65_535),
  weight: z.int().min(1).max(65_535),
  number_format: z.enum(['e164', 'plus_less', 'national']),
  caller_id: z.enum(['passthrough', 'did', 'fixed']),
  caller_id_number: e164,
  max_cps: z.int().min(1).max(100_000),
  max_concurrent: z.int().min(1).max(1_000_000),
  retry_on_404: z.boolean(),
  probe: z.boolean(),
  is_active: z.boolean(),
};

export const trunkCreate = z
  .strictObject({
    name: fields.name,
    gateway_name: fields.gateway_name
      .optional()
      .describe('unique among those of its owner; generated when left out'),
    proxy: fields.proxy,
    port: fields.port.optional(),
    transport: fields.transport.default('udp'),
    username: fields.username.optional(),
    password: fields.password.optional(),
    realm: fields.realm.optional(),
    from_domain: fields.from_domain.optional(),
    inbound_ip: fields.inbound_ip.optional(),
    country: fields.country.optional(),
    register: fields.register.default(false),
    priority: fields.priority.default(10),
    weight: fields.weight.default(1),
    number_format: fields.number_format.default('e164'),
    caller_id: fields.caller_id.default('passthrough'),
    caller_id_number: fields.caller_id_number.optional(),
    max_cps: fields.max_cps.optional(),
    max_concurrent: fields.max_concurrent.optional(),
    retry_on_404: fields.retry_on_404
      .default(false)
      .describe('a 404 of this carrier lets the next trunk try'),
    probe: fields.probe
      .default(true)
      .describe(
        'whether the carrier is asked by OPTIONS if it is there; one that answers none would count as down',
      ),
    is_active: fields.is_active.default(true),
  })
  .meta({ id: 'TrunkCreate' });

export const trunkAdminCreate = trunkCreate
  .extend({
    customer_id: idField
      .optional()
      .describe('without it the trunk is a carrier of the operator, usable by all customers'),
  })
  .meta({ id: 'TrunkAdminCreate' });

/** null takes an optional field away. */
export const trunkPatch = z
  .strictObject({
    ...fields,
    port: fields.port.nullable(),
    username: fields.username.nullable(),
    password: fields.password.nullable(),
    realm: fields.realm.nullable(),
    from_domain: fields.from_domain.nullable(),
    inbound_ip: fields.inbound_ip.nullable(),
    country: fields.country.nullable(),
    caller_id_number: fields.caller_id_number.nullable(),
    max_cps: fields.max_cps.nullable(),
    max_concurrent: fields.max_concurrent.nullable(),
  })
  .partial()
  .meta({ id: 'TrunkPatch' });

export const trunkReply = z
  .strictObject({
    id: z.string(),
    customer_id: z.string().optional(),
    name: z.string(),
    direction: z.enum(['outbound', 'both']),
    gateway_name: z.string(),
    proxy: z.string(),
    port: z.int().optional(),
    transport: fields.transport,
    username: z.string().optional(),
    realm: z.string().optional(),
    from_domain: z.string().optional(),
    inbound_ip: z.string().optional(),
    country: z.string().optional(),
    register: z.boolean(),
    priority: z.int(),
    weight: z.int(),
    number_format: fields.number_format,
    caller_id: fields.caller_id,
    caller_id_number: z.string().optional(),
    max_cps: z.int().optional(),
    max_concurrent: z.int().optional(),
    retry_on_404: z.boolean(),
    probe: z.boolean(),
    is_active: z.boolean(),
    status: z.enum(['up', 'down', 'unknown']),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Trunk' });

export const toJson = (trunk: Trunk): z.input<typeof trunkReply> => ({
  id: trunk.id,
  customer_id: trunk.customerId,
  name: trunk.name,
  direction: direction(trunk),
  gateway_name: trunk.gatewayName,
  proxy: trunk.proxy,
  port: trunk.port,
  transport: trunk.transport,
  username: trunk.username,
  realm: trunk.realm,
  from_domain: trunk.fromDomain,
  inbound_ip: trunk.inboundIp,
  country: trunk.country,
  register: trunk.register,
  priority: trunk.priority,
  weight: trunk.weight,
  number_format: trunk.numberFormat,
  caller_id: trunk.callerId,
  caller_id_number: trunk.callerIdNumber,
  max_cps: trunk.maxCps,
  max_concurrent: trunk.maxConcurrent,
  retry_on_404: trunk.retryOn404,
  probe: trunk.probe,
  is_active: trunk.isActive,
  status: trunk.status,
  created_at: rfc3339(trunk.createdAt),
  updated_at: rfc3339(trunk.updatedAt),
});
