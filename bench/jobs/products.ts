/** Every product by its name. A module is loaded in the process that needs it, and only there. */
import type { Product } from './product.ts';

const loaders = {
  millrace: async () => (await import('./products/millrace.ts')).millracePostgres,
  'millrace-redis': async () => (await import('./products/millrace.ts')).millraceRedis,
  'graphile-worker': async () => (await import('../peers/graphile.ts')).graphile,
  'bullmq-redis': async () => (await import('../peers/bullmq.ts')).bullmqRedis,
  'bullmq-postgres': async () => (await import('../peers/bullmq.ts')).bullmqPostgres,
  'pg-boss': async () => (await import('../peers/pg-boss.ts')).pgBoss,
} satisfies Readonly<Record<string, () => Promise<Product>>>;

export type ProductName = keyof typeof loaders;
export const productNames = Object.keys(loaders) as ProductName[];
export const isOurs = (name: ProductName): boolean => name.startsWith('millrace');

export function loadProduct(name: ProductName): Promise<Product> {
  return loaders[name]();
}
