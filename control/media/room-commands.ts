import { createHash } from 'node:crypto';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';

/** Somebody in a room, as `conference ROOM list` has it. `name` is the caller's name. */
export interface RoomMember {
  id: string;
  uuid: string;
  name: string;
}

/** A name as the node's commands take it. */
export const roomName = (room: string): string =>
  /^[A-Za-z0-9._-]{1,160}$/.test(room) ? room : createHash('sha256').update(room).digest('hex');

/** Who is in the room; nobody when there is none of this name. */
export async function members(connection: EslConnection, room: string): Promise<RoomMember[]> {
  const list = await unlessRefused(connection.api(`conference ${room} list`));
  return (list ?? '')
    .split('\n')
    .map((line) => line.split(';'))
    .flatMap(([id, , uuid, name]) => (id && uuid ? [{ id, uuid, name: name ?? '' }] : []));
}

/** Takes a member out of a room, if he is still in there. */
export async function hangUpMember(connection: EslConnection, room: string, id: string): Promise<void> {
  await unlessRefused(connection.api(`conference ${room} hup ${id}`));
}

/** The room, or the member, is not there any more. */
async function unlessRefused(reply: Promise<string>): Promise<string | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof EslError && error.kind === 'refused') return undefined;
    throw error;
  }
}
