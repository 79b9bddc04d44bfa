import { invalid } from '../http/endpoint.ts';
import { pointsInside, sipHost } from '../lib/sip-uri.ts';
import type { Did, RouteTarget } from './schema.ts';

/** A `route_target` as a request gives it. */
export interface GivenTarget {
  sip_uri?: string | string[];
  sip_code?: Extract<RouteTarget, { sip_code: unknown }>['sip_code'];
}

/**
 * The target a number has in a route mode, from what a request gives for it.
 * @param given null or undefined where nothing is
 * @throws ApiError `invalid_request` when mode and target do not belong together
 */
export function targetFor(
  mode: Did['routeMode'],
  given: GivenTarget | null | undefined,
): RouteTarget | undefined {
  const { sip_uri, sip_code } = given ?? {};
  if (sip_uri !== undefined && mode !== 'sip')
    throw invalid('route_target.sip_uri', `is not used in route mode ${mode}`);
  if (sip_code !== undefined && mode !== 'reject')
    throw invalid('route_target.sip_code', `is not used in route mode ${mode}`);
  if (mode === 'sip' && sip_uri === undefined)
    throw invalid('route_target.sip_uri', 'is required in route mode sip');
  if (sip_uri !== undefined) return { sip_uri };
  return sip_code === undefined ? undefined : { sip_code };
}

/**
 * Holds customers to SIP targets that are not written as addresses of a private network: ours is next to the
 * edge.
 * @throws ApiError `invalid_request`
 */
export function refusePrivateTargets(given: GivenTarget | null | undefined): void {
  const uris = [given?.sip_uri ?? []].flat();
  uris.forEach((uri, index) => {
    if (!pointsInside(sipHost(uri) ?? '')) return;
    const path =
      typeof given?.sip_uri === 'string' ? 'route_target.sip_uri' : `route_target.sip_uri[${index}]`;
    throw invalid(path, 'must not point to a private or local address');
  });
}
