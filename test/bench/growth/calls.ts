import { insertCalls, type Owner } from './call-rows.ts';
import { answer, questions, SLOWEST_MS } from './requests.ts';
import { say, Subjects } from './subjects.ts';

const OWNERS = 50;

/** What lists of stored calls cost. @returns how many requests were slower than they may be */
export async function growthOfCalls(total: number): Promise<number> {
  const subjects = await Subjects.open();
  try {
    await subjects.startKamailio();
    await subjects.startControl();
    const owners: Owner[] = [];
    let key = '';
    for (let i = 0; i < OWNERS; i++) {
      const customer = String((await subjects.make('/admin/v1/customers', { name: `Customer ${i}` }))['id']);
      const application = await subjects.make(`/admin/v1/customers/${customer}/applications`, {
        name: 'Benchmark',
      });
      owners.push({ customer, application: String(application['id']) });
      if (i === 0) key = String(application['api_key']);
    }
    const [owner] = owners;
    if (!owner) throw new Error('there is no customer');
    say(
      `\nStored calls: ${total.toLocaleString('en')} of ${OWNERS} customers in 60 days, with 2 lines of timeline and a delivery each`,
    );
    await insertCalls(
      subjects.database.db,
      owners,
      total,
      (done) => void (done % 500_000 === 0 && say(`  ${done.toLocaleString('en')} inserted`)),
    );
    const [deep] = (await subjects.database
      .db('calls')
      .where('application_id', owner.application)
      .where('created_at', '<', new Date(Date.now() - 50 * 86_400_000))
      .orderBy('id', 'desc')
      .limit(1)
      .select('id')) as { id: string }[];
    if (!deep) throw new Error('the calls are not there');
    // A cursor is what the API gives: the list before it ends at this call.
    const cursor = Buffer.from(deep.id).toString('base64url');
    const list = questions(owner, deep.id, cursor);
    say(
      `${'request'.padEnd(38)}${'p50 ms'.padStart(10)}${'max ms'.padStart(10)}${'×'.padStart(8)}${'rows'.padStart(7)}   at most ${SLOWEST_MS} ms`,
    );
    let first: number | undefined;
    let slow = 0;
    for (const question of list) {
      await subjects.ask('GET', question.target, undefined, question.operator ? undefined : key);
      const { p50, max, rows } = await answer(subjects, question, key);
      first ??= p50;
      const met = p50 <= SLOWEST_MS;
      if (!met) slow++;
      say(
        `${question.name.padEnd(38)}${p50.toFixed(1).padStart(10)}${max.toFixed(1).padStart(10)}${(p50 / first).toFixed(1).padStart(8)}${String(rows).padStart(7)}   ${met ? 'met' : 'MISSED'}`,
      );
    }
    return slow;
  } finally {
    await subjects.close();
  }
}
