import { defaultHome } from '../home.ts';
import { Instance } from '../instance.ts';
import { step } from '../steps.ts';

export async function down(): Promise<number> {
  const instance = new Instance(defaultHome());
  await step('Stopping everything', async () =>
    (await instance.down()) ? 'Everything is stopped' : 'Nothing was running',
  );
  return 0;
}
