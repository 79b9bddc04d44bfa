import type { Node } from './node.ts';

/** An API command; its output is FreeSWITCH's, to the byte where somebody reads it. */
export type Command = (node: Node, argument: string) => string | Promise<string>;

export const NO_CHANNEL = '-ERR No such channel!\n';
export const NO_SESSION = '-ERR Cannot locate session!\n';

/** Splits at spaces; the last of `limit` words is all the rest. */
export function words(text: string, limit: number): string[] {
  const parts = text.trim().split(/ +/).filter(Boolean);
  return parts.length <= limit ? parts : [...parts.slice(0, limit - 1), parts.slice(limit - 1).join(' ')];
}
