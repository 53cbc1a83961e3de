-- A client may give its call an id of its own (x-litellm-call-id), under which it wants to find it again. Cut, because clients choose
-- what metadata holds and PostgreSQL refuses an index entry above 2,704 bytes.
create index ledger_client_call on ledger (left(metadata ->> 'litellm_call_id', 128))
  where metadata ->> 'litellm_call_id' is not null;
