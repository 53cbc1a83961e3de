-- What an answer from the cache is kept under. Nullable and without a default: nothing of a large ledger is rewritten.
alter table ledger add column cache_key text;
