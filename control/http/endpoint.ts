/**
 * One endpoint of the REST API, declared once: its route, authentication, validation, OpenAPI entry and error
 * mapping all come from this. A room's `routes.ts` exports a function that returns a list of them, and
 * `app.ts` hands the lists of all rooms to `createApi`:
 *
 *   export const callRoutes = (service: CallService): Endpoint[] => [
 *     endpoint({
 *       method: 'get',
 *       path: '/v1/calls/:id',
 *       auth: 'customer',
 *       tag: 'Calls',
 *       summary: 'Read a call',
 *       params: z.strictObject({ id: z.string() }),
 *       status: 200,
 * reply: callReply,                        // a zod schema with .meta({ id: 'Call' }) becomes a named OpenAPI
 * component
 *       errors: ['call_not_found'],              // beyond those every endpoint can answer with
 *       handle: async ({ params, caller }) => toJson(await service.get(caller.applicationId, params.id)),
 *     }),
 *   ];
 *
 * - `params`, `query` and `body` are zod schemas, strict objects all; `handle` gets their output. A problem
 * in any of them
 *   is `invalid_request` before `handle` runs. Lists take `pageQuery` and `listOf(schema)` of pagination.ts.
 * - `caller` is the customer's key, the operator, or nothing, as `auth` says.
 * - `handle` returns what goes out as JSON (fields that are undefined are left out), or throws an ApiError.
 * With status
 *   204 it returns nothing and there is no `reply`.
 * - What answers with bytes instead is declared by `download`: `produces` is their media type, and `handle`
 * returns a
 *   Download of download.ts. HEAD and single ranges come with it.
 * - Every POST honours Idempotency-Key by itself.
 * - Whatever is not a GET is refused for a suspended customer, unless `allowSuspendedCustomer` says that it
 * must be
 *   possible all the same. The key of a disabled application is refused everything.
 * - Endpoints are matched in the order of the list: fixed paths before those with parameters.
 */
import { z } from 'zod';
import { ApiError, type ErrorCode } from '../lib/errors.ts';
import { detailsOf, plainWords, summaryOf } from '../lib/zod-path.ts';
import type { Download } from './download.ts';

/** A customer's key: it names one application, and through it one customer. */
export interface CustomerCaller {
  kind: 'customer';
  applicationId: string;
  customerId: string;
  applicationStatus: 'active' | 'disabled';
  customerStatus: 'active' | 'suspended';
}

export interface OperatorCaller {
  kind: 'operator';
}

interface Callers {
  customer: CustomerCaller;
  operator: OperatorCaller;
  none: undefined;
}

export type Caller = Callers[keyof Callers];

export const BODY_LIMIT_BYTES = 256 * 1024;
export const TEXT_LIMIT_BYTES = 2 * 1024 * 1024;

/** What an endpoint is besides its handler: read by the server and by the OpenAPI document. */
interface Description {
  method: 'get' | 'post' | 'patch' | 'put' | 'delete';
  /** Express path, such as `/v1/calls/:id`. */
  path: string;
  auth: keyof Callers;
  tag: string;
  summary: string;
  description?: string;
  /** 101: the success is an upgrade, made elsewhere. */
  status: 101 | 200 | 201 | 202 | 204;
  errors?: readonly ErrorCode[];
  allowSuspendedCustomer?: boolean;
  /** How often one application may ask this in a minute, where that is less than it may ask anything. */
  perMinute?: number;
  /** What the document shows of the body, where `body` leaves more of it for `handle` to check. */
  documentedBody?: z.ZodType;
  /** Media type of a reply that is not JSON. */
  produces?: string;
  /**
   * Text that is taken as the body instead of JSON, as a string; it may be longer, up to TEXT_LIMIT_BYTES.
   */
  consumes?: 'text/csv';
}

interface Spec<
  A extends keyof Callers,
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
> extends Description {
  auth: A;
  params?: P;
  query?: Q;
  body?: B;
  reply?: R;
  handle(input: {
    params: z.output<P>;
    query: z.output<Q>;
    body: z.output<B>;
    caller: Callers[A];
    requestId: string;
  }): Promise<z.input<R>>;
}

/** A request as it arrived, not validated. */
export interface RawRequest {
  params: unknown;
  query: unknown;
  body: unknown;
  caller: Caller;
  requestId: string;
}

export interface Endpoint extends Description {
  params?: z.ZodType;
  query?: z.ZodType;
  body?: z.ZodType;
  reply?: z.ZodType;
  /**
   * Validates a request and returns what runs it: two steps, because limits and idempotency come in between.
   * @throws ApiError `invalid_request`, from the first step.
   */
  prepare(raw: RawRequest): () => Promise<unknown>;
}

type Input<A extends keyof Callers, P extends z.ZodType, Q extends z.ZodType> = {
  params: z.output<P>;
  query: z.output<Q>;
  caller: Callers[A];
  requestId: string;
};

/** An endpoint that answers with bytes, whole or in part. */
export const download = <
  A extends keyof Callers,
  P extends z.ZodType = z.ZodUnknown,
  Q extends z.ZodType = z.ZodUnknown,
>(
  spec: Omit<Description, 'method' | 'status'> & {
    auth: A;
    params?: P;
    query?: Q;
    produces: string;
    handle(input: Input<A, P, Q>): Promise<Download>;
  },
): Endpoint => endpoint<A, P, Q, z.ZodUnknown, z.ZodUnknown>({ ...spec, method: 'get', status: 200 });

export function endpoint<
  A extends keyof Callers,
  P extends z.ZodType = z.ZodUnknown,
  Q extends z.ZodType = z.ZodUnknown,
  B extends z.ZodType = z.ZodUnknown,
  R extends z.ZodType = z.ZodVoid,
>(spec: Spec<A, P, Q, B, R>): Endpoint {
  return {
    ...spec,
    prepare(raw) {
      const input = {
        params: parse(spec.params, raw.params),
        query: parse(spec.query, raw.query),
        body: parse(spec.body, raw.body),
        caller: raw.caller as Callers[A], // the server has authenticated it by `auth`
        requestId: raw.requestId,
      };
      return () => spec.handle(input);
    },
  };
}

/**
 * What is wrong with a body is told up to here: a body of nothing but unknown names must not make a longer
 * reply.
 */
const MOST_DETAILS = 50;
const LONGEST_PATH = 200;

/** @throws ApiError `invalid_request` with a path for every problem, the first 50 of them. */
export function parse<T extends z.ZodType>(schema: T | undefined, value: unknown): z.output<T> {
  if (!schema) return undefined as z.output<T>;
  const result = schema.safeParse(value, { error: plainWords });
  if (result.success) return result.data;
  const details = detailsOf(result.error.issues)
    .slice(0, MOST_DETAILS)
    .map(({ path, message }) => ({ path: path.slice(0, LONGEST_PATH), message }));
  throw new ApiError('invalid_request', summaryOf(details), { details });
}

/** An `invalid_request` about one field, for what a schema alone cannot know. */
export const invalid = (path: string, message: string): ApiError =>
  new ApiError('invalid_request', `${path} ${message}`, { details: [{ path, message }] });

const ID = /^[\x21-\x7e]{1,48}$/;

/** An id of ours inside a body or a query. */
export const idField = z.string().regex(ID, 'must be an id');

/**
 * The path of everything that has an id, and the only one: what cannot be an id becomes one that nothing has,
 * so that it is not found rather than not valid, and never reaches a column whose characters are others.
 */
export const idParams = z.strictObject({ id: z.string().transform((id) => (ID.test(id) ? id : '-')) });
