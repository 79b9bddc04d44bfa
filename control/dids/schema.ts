import { z } from 'zod';
import { idField } from '../http/endpoint.ts';
import { e164 } from '../http/fields.ts';
import { rfc3339 } from '../lib/time.ts';
import { isSipTarget } from '../lib/sip-uri.ts';

export const REJECT_CODES = [403, 404, 480, 486, 603] as const;

export type RouteTarget =
  { readonly sip_uri: string | readonly string[] } | { readonly sip_code: (typeof REJECT_CODES)[number] };

/** A phone number and what an inbound call to it gets. */
export interface Did {
  readonly id: string;
  readonly customerId: string;
  readonly applicationId: string | undefined;
  readonly number: string;
  readonly provider: string | undefined;
  readonly status: 'active' | 'disabled';
  readonly routeMode: 'webhook' | 'sip' | 'reject';
  readonly routeTarget: RouteTarget | undefined;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What routing needs to know of a number: as much as is kept in memory of each. */
export type RoutedDid = Pick<
  Did,
  'id' | 'customerId' | 'applicationId' | 'number' | 'status' | 'routeMode' | 'routeTarget'
>;

/** The SIP URIs of a `sip` number in the order they are tried; empty in other modes. */
export function sipTargets(did: RoutedDid): readonly string[] {
  if (did.routeMode !== 'sip' || !did.routeTarget || !('sip_uri' in did.routeTarget)) return [];
  return typeof did.routeTarget.sip_uri === 'string' ? [did.routeTarget.sip_uri] : did.routeTarget.sip_uri;
}

/** The SIP code of a `reject` number; 480 unless another was asked for. */
export const rejectCode = (did: RoutedDid): (typeof REJECT_CODES)[number] =>
  did.routeTarget && 'sip_code' in did.routeTarget ? did.routeTarget.sip_code : 480;

const provider = z.string().trim().min(1).max(100);
const status = z.enum(['active', 'disabled']);
const routeMode = z
  .enum(['webhook', 'sip', 'reject'])
  .describe('`webhook`: the answer_url drives the call; `sip`: it is relayed; `reject`: it is refused');
const sipUri = z.string().max(255).refine(isSipTarget, 'must be a sip: or sips: URI without headers');

export const routeTarget = z
  .strictObject({
    sip_uri: z
      .union([sipUri, z.array(sipUri).min(1).max(10)], {
        error: 'must be a sip: or sips: URI without headers, or a list of 1 to 10 of them',
      })
      .optional(),
    sip_code: z
      .literal([...REJECT_CODES])
      .meta({ type: 'integer', enum: [...REJECT_CODES] })
      .optional(),
  })
  .meta({
    description:
      '`sip_uri` in route mode `sip`, tried in order; `sip_code` in route mode `reject`, 480 when left out',
  });

export const didCreate = z
  .strictObject({
    number_e164: e164,
    customer_id: idField,
    application_id: idField.optional(),
    provider: provider.optional(),
    status: status.default('active'),
    route_mode: routeMode.default('webhook'),
    route_target: routeTarget.optional(),
  })
  .meta({ id: 'DidCreate' });

/** What the owner may change. null takes an optional field away. */
export const didPatch = z
  .strictObject({
    application_id: idField.nullable(),
    route_mode: routeMode,
    route_target: routeTarget.nullable(),
  })
  .partial()
  .meta({ id: 'DidPatch' });

export const didAdminPatch = didPatch
  .extend({
    customer_id: idField.optional(),
    provider: provider.nullable().optional(),
    status: status.optional(),
  })
  .meta({ id: 'DidAdminPatch' });

export const didReply = z
  .strictObject({
    id: z.string(),
    customer_id: z.string(),
    application_id: z.string().optional(),
    number_e164: z.string(),
    provider: z.string().optional(),
    status,
    route_mode: routeMode,
    route_target: z
      .strictObject({
        sip_uri: z.union([z.string(), z.array(z.string())]).optional(),
        sip_code: z.int().optional(),
      })
      .optional(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Did' });

export const toJson = (did: Did): z.input<typeof didReply> => ({
  id: did.id,
  customer_id: did.customerId,
  application_id: did.applicationId,
  number_e164: did.number,
  provider: did.provider,
  status: did.status,
  route_mode: did.routeMode,
  route_target:
    did.routeTarget &&
    ('sip_code' in did.routeTarget
      ? { sip_code: did.routeTarget.sip_code }
      : {
          sip_uri:
            typeof did.routeTarget.sip_uri === 'string'
              ? did.routeTarget.sip_uri
              : [...did.routeTarget.sip_uri],
        }),
  created_at: rfc3339(did.createdAt),
  updated_at: rfc3339(did.updatedAt),
});
